"""The checks of this repository. ``nox -l`` lists them, ``nox -s lint`` runs one.

Pythons that are not installed are skipped, and named; none is downloaded.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import nox

ROOT = Path(__file__).resolve().parent
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
DJANGOS = ["5.2", "6.0", "6.1"]
#: The oldest Python of each Django.
NEEDS_PYTHON = {"5.2": "3.11", "6.0": "3.12", "6.1": "3.12"}
MATRIX = [
    nox.param(python, django, id=f"{python}-django{django}")
    for python in PYTHONS
    for django in DJANGOS
    if PYTHONS.index(python) >= PYTHONS.index(NEEDS_PYTHON[django])
]

#: The folders of the distributions.
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
DISTRIBUTIONS = [ROOT, *PLUGINS]
DIST = ROOT / "dist"

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
# In CI too: what is missing is skipped, and named with the reason.
nox.options.error_on_missing_interpreters = False
os.environ.setdefault("UV_PYTHON_DOWNLOADS", "never")


def newest_python() -> str:
    """The newest supported Python that runs here."""
    for version in reversed(PYTHONS):
        command = shutil.which(f"python{version}")
        if command and not subprocess.run([command, "-c", ""], capture_output=True, check=False).returncode:
            return version
    return PYTHONS[0]


NEWEST_PYTHON = newest_python()
NEWEST_DJANGO = [django for django in DJANGOS if NEEDS_PYTHON[django] <= NEWEST_PYTHON][-1]


def groups(*names: str) -> list[str]:
    """The requirements of dependency groups."""
    return list(nox.project.dependency_groups(PROJECT, *names))


def install_sources(session: nox.Session, *requirements: str) -> None:
    """Install all distributions, editable, with what else is required."""
    editable = [argument for folder in DISTRIBUTIONS for argument in ("-e", os.fspath(folder))]
    session.install(*editable, *requirements)


def install_driver(session: nox.Session) -> None:
    """Install MariaDB's driver; where it cannot be compiled, its tests are skipped (in CI they fail)."""
    session.install(*groups("mariadb"), success_codes=range(256), silent=True)


def run_suite(session: nox.Session, database: str, arguments: Sequence[str] = ()) -> None:
    """Run tests on one database: without ``arguments`` the core's, but for the slow ones.

    Those and the plugins' are left to `make test`, and the plugins' to `plugins`, which has the wheels.
    """
    arguments = arguments or session.posargs or ["tests", "-m", "not slow"]
    session.run("python", "-m", "tests.run", *arguments, env={"DSN_TEST_DATABASE": database})


@nox.session
@nox.parametrize("python,django", MATRIX)
def tests(session: nox.Session, django: str) -> None:
    """The suite on SQLite, with every Python and Django."""
    install_sources(session, f"Django~={django}.0", *groups("test"))
    install_driver(session)
    run_suite(session, "sqlite")


@nox.session(python=NEWEST_PYTHON)
@nox.parametrize("database", ["postgresql", "mariadb"])
def databases(session: nox.Session, database: str) -> None:
    """The suite on the other databases, with the newest Python and Django."""
    install_sources(session, f"Django~={NEWEST_DJANGO}.0", *groups("test"))
    install_driver(session)
    run_suite(session, database)


@nox.session(python=NEWEST_PYTHON)
@nox.parametrize("database", ["postgresql", "mariadb", "sqlite"])
def faults(session: nox.Session, database: str) -> None:
    """Workers that are killed, stopped, cut off: what is lost, what doubled. ``-- --full``: as the scorecard asks."""
    install_sources(session, f"Django~={NEWEST_DJANGO}.0", *groups("test"))
    install_driver(session)
    session.run(
        *("python", "-m", "pytest", "faults", "--ds=faults.settings", "-q", *session.posargs),
        env={"DSN_TEST_DATABASE": database},
    )


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """The suite on SQLite, with the oldest releases that the core's dependencies allow."""
    oldest = [requirement.replace(">=", "==") for requirement in PROJECT["project"]["dependencies"]]
    install_sources(session, *oldest, *groups("test"))
    install_driver(session)
    run_suite(session, "sqlite")


@nox.session(python=NEWEST_PYTHON, requires=["build"])
@nox.parametrize("plugin", [folder.name for folder in PLUGINS])
def plugins(session: nox.Session, plugin: str) -> None:
    """One plugin's tests, but for the slow ones, against the wheels of the core and the plugin that `build` made."""
    place = Path(session.create_tmp()).resolve()
    shutil.rmtree(place, ignore_errors=True)
    session.install(*groups("test"))
    install_driver(session)
    wheels = [wheel_of(folder) for folder in (ROOT, ROOT / "plugins" / plugin)]
    session.install("--reinstall" if session.venv_backend == "uv" else "--force-reinstall", *map(os.fspath, wheels))
    # The tests go to a folder that has no source of any package, so that only the wheels can be imported.
    for name in ("tests", f"plugins/{plugin}/tests"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "conftest.py"):
        shutil.copy2(ROOT / name, place / name)
    session.chdir(place)
    session.env["PYTHONPATH"] = ""
    for package in ("dsn_core", plugin.replace("-", "_")):
        session.run(
            "python", "-c", f"import sys, {package} as it; assert it.__file__.startswith(sys.prefix), it.__file__"
        )
    run_suite(session, "sqlite", [f"plugins/{plugin}/tests", *(session.posargs or ["-m", "not slow"])])


@nox.session(python=NEWEST_PYTHON)
def lint(session: nox.Session) -> None:
    """ruff: rules and format."""
    session.install(*groups("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(python=NEWEST_PYTHON)
def types(session: nox.Session) -> None:
    """mypy, strict, over the core and the plugins."""
    install_sources(session, f"Django~={NEWEST_DJANGO}.0", *groups("types"))
    packages = [os.fspath(folder / folder.name.replace("-", "_")) for folder in PLUGINS]
    session.run("mypy", "dsn_core", *packages)


@nox.session(python=NEWEST_PYTHON)
def layers(session: nox.Session) -> None:
    """import-linter: who may import whom."""
    install_sources(session, *groups("layers"))
    session.run("lint-imports", "--no-cache")


@nox.session(python=NEWEST_PYTHON)
def docs(session: nox.Session) -> None:
    """The documentation; a warning is an error."""
    install_sources(session, *groups("docs"))
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html")


@nox.session(python=NEWEST_PYTHON)
@nox.parametrize("django", sorted({DJANGOS[0], NEWEST_DJANGO}))
def migrations(session: nox.Session, django: str) -> None:
    """Whether the models have changes that no migration has, for the oldest and the newest Django."""
    install_sources(session, f"Django~={django}.0")
    session.run(
        *("django-admin", "makemigrations", "--check", "--dry-run"),
        *("--settings", "tests.settings", "--pythonpath", os.fspath(ROOT)),
    )


@nox.session(python=NEWEST_PYTHON)
def demo(session: nox.Session) -> None:
    """The example, from migrate to the e-mails, Telegram messages and SMS that arrive."""
    install_sources(session, f"Django~={NEWEST_DJANGO}.0", *groups("demo"))
    session.run("python", "examples/cinema/demo.py")


@nox.session(python=NEWEST_PYTHON)
def bench(session: nox.Session) -> None:
    """What dsn-core costs, against plain Django in the same run; `-- --quick` for a first look, or `-- matched`."""
    install_sources(session, f"Django~={NEWEST_DJANGO}.0", *groups("test"))
    session.run("python", "-m", "bench", *session.posargs)


@nox.session(python=NEWEST_PYTHON)
def build(session: nox.Session) -> None:
    """Sdist and wheel of every distribution, into dist/; then whether the wheels are complete."""
    session.install(*groups("build"))
    shutil.rmtree(DIST, ignore_errors=True)
    for folder in DISTRIBUTIONS:
        # Without isolation: the session has the group "build", which is what the build systems require.
        command = ("python", "-m", "build", "--no-isolation", "--outdir", os.fspath(DIST), os.fspath(folder))
        session.run(*command, silent=True)
        wheel = wheel_of(folder)
        if missing := missing_in(wheel, folder):
            session.error(f"{wheel.name} lacks {', '.join(missing)}")
        session.log(f"{wheel.name} is complete")


def wheel_of(folder: Path) -> Path:
    """The wheel of a distribution that the session `build` made."""
    name = nox.project.load_toml(folder / "pyproject.toml")["project"]["name"].replace("-", "_")
    (wheel,) = DIST.glob(f"{name}-*.whl")
    return wheel


def missing_in(wheel: Path, folder: Path) -> list[str]:
    """What the wheel should have and has not: the package's files, and each translation compiled."""
    package = folder / (wheel.name.partition("-")[0])
    wanted = {
        path.relative_to(folder).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }
    wanted |= {path.removesuffix(".po") + ".mo" for path in wanted if path.endswith(".po")}
    wanted.add(f"{package.name}/py.typed")
    if folder == ROOT:
        # Should one of them be gone from the source, too.
        wanted |= {f"{package.name}/{name}/" for name in ("templates", "static", "migrations", "locale")}
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    licences = [name for name in names if name.endswith("/licenses/LICENSE")]
    folders = {f"{parent}/" for name in names for parent in PurePosixPath(name).parents}
    return sorted(wanted.difference(names, folders)) + ([] if licences else ["LICENSE"])
