"""What a stranger does: wheels in a fresh environment, a new project, a plugin of their own.

Nothing is imported from this repository: the wheels are built, installed by pip into a new virtual
environment, and driven through ``manage.py``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import venv
from pathlib import Path
from typing import Any

import django
import pytest

from tests.acceptance import several

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.environ.get("DSN_TEST_DATABASE", "sqlite") != "sqlite", reason="the same on every database"),
]

PIGEON = {
    "pyproject.toml": """
        [build-system]
        requires = ["hatchling"]
        build-backend = "hatchling.build"

        [project]
        name = "dsn-pigeon"
        version = "1.2.3"
        description = "Messages by pigeon."
        dependencies = ["dsn-core"]

        [project.entry-points.dsn]
        pigeon = "dsn_pigeon"
    """,
    "dsn_pigeon.py": """
        from pathlib import Path

        from dsn_core import BaseMessenger, Receipt, hookimpl


        class PigeonMessenger(BaseMessenger):
            \"\"\"Lets a pigeon carry it to a file.\"\"\"

            name = "pigeon"

            def send_messages(self, messages):
                with Path("pigeons.txt").open("a") as loft:
                    for message in messages:
                        loft.write(f"{message.user}: {message.text}\\n")
                        yield Receipt.sent(provider_id="ring 7", message=message)


        @hookimpl
        def dsn_messengers():
            return [PigeonMessenger]
    """,
}

BROKEN = {
    "pyproject.toml": PIGEON["pyproject.toml"].replace("pigeon", "dodo").replace("1.2.3", "0.0.1"),
    "dsn_dodo.py": """
        raise RuntimeError("extinct")
    """,
}

SET_UP = """
    from django.contrib.auth.models import Group, User
    from dsn_core.models import Trigger
    ann = User.objects.create_user("ann", "ann@example.org")
    trigger = Trigger.objects.define("post_save", action_object=Group)
    trigger.subscribe(users=[ann], backends=[("pigeon", "simple"), ("email", "simple")])
"""
FIRE = """
    from django.contrib.auth.models import Group
    Group.objects.create(name="{name}")
"""
STATUSES = """
    import json
    from dsn_core.models import Delivery
    rows = Delivery.objects.order_by("event_id", "messenger")
    print(json.dumps([[row.messenger, row.status, row.last_error] for row in rows]))
"""


class Site:
    """A fresh environment and a new project in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wheels = folder / "wheels"
        self.project = folder / "shop"
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "DJANGO"))}
        self.environment["COLUMNS"] = "80"
        self.environment["DJANGO_SETTINGS_MODULE"] = "shop.settings"
        # pip installs into it from outside: a pip of its own would take longer to install than all else.
        venv.create(folder / "venv", with_pip=False)
        self.bin = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")

    def run(self, *command: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=self.project if self.project.exists() else self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == status, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done

    def pip(self, *arguments: str | Path) -> None:
        options = ("--python", self.bin / "python", "--disable-pip-version-check", "--quiet")
        self.run(sys.executable, "-m", "pip", *options, *arguments)

    def manage(self, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        # Every warning is an error: a query in ready() would be one.
        return self.run(self.bin / "python", "-W", "error", "manage.py", *arguments, status=status)

    def shell(self, code: str) -> str:
        return self.manage("shell", "-c", textwrap.dedent(code)).stdout

    def build(self, source: Path) -> Path:
        """Build a wheel, with the environment that runs the tests."""
        known = set(self.wheels.glob("*.whl"))
        subprocess.run(
            [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(self.wheels), str(source)],
            check=True,
            capture_output=True,
            text=True,
        )
        (wheel,) = set(self.wheels.glob("*.whl")) - known
        return wheel

    def write_and_build(self, name: str, files: dict[str, str]) -> Path:
        source = self.folder / name
        source.mkdir()
        for file, text in files.items():
            (source / file).write_text(textwrap.dedent(text).lstrip())
        return self.build(source)

    def manage_all(self, *commands: tuple[int, list[str]]) -> list[several.Answer]:
        """Several commands in one process, each after the exit status that it must have."""
        statuses, given = zip(*commands, strict=True)
        done = self.run(self.bin / "python", "-W", "error", *several.arguments(*given))
        return several.answers(done.stdout, *statuses)

    def plugins(self) -> dict[str, dict]:
        return by_name(self.manage("dsn_plugins", "--format", "json"))

    def deliveries(self) -> list[list[str]]:
        return rows_of(self.shell(STATUSES))


def by_name(listed: Any) -> dict[str, dict]:
    """The plugins that ``dsn_plugins`` lists."""
    return {plugin["name"]: plugin for plugin in json.loads(listed.stdout)["plugins"]}


def rows_of(shown: str) -> list[list[str]]:
    """The deliveries that :data:`STATUSES` prints."""
    return json.loads(shown.strip().splitlines()[-1])


def test_from_pip_install_to_uninstall(tmp_path):
    site = Site(tmp_path)
    core, email = site.build(ROOT), site.build(ROOT / "plugins" / "dsn-email")
    pigeon = site.write_and_build("pigeon", PIGEON)
    site.pip("install", "--no-compile", f"Django=={django.__version__}", core, email, pigeon)
    site.run(site.bin / "django-admin", "startproject", "shop")
    settings = site.project / "shop" / "settings.py"
    settings.write_text(
        settings.read_text().replace("INSTALLED_APPS = [", "INSTALLED_APPS = [\n    'dsn_core',")
        + "\nimport django\n"
        + "EMAIL_SETTING = 'django.core.mail.backends.locmem.EmailBackend'\n"
        + "if django.VERSION >= (6, 1):\n    MAILERS = {'default': {'BACKEND': EMAIL_SETTING}}\n"
        + "else:\n    EMAIL_BACKEND = EMAIL_SETTING\n"
    )

    # Everything that pip installed is listed, before there is a database.
    found = site.plugins()
    assert not (site.project / "db.sqlite3").exists()
    assert set(found) == {"builtin", "email", "pigeon"}
    assert [found["pigeon"][key] for key in ("distribution", "version", "source", "state")] == [
        "dsn-pigeon",
        "1.2.3",
        "entry_point",
        "active",
    ]
    assert found["pigeon"]["messengers"] == [
        {"name": "pigeon", "description": "Lets a pigeon carry it to a file.", "ready": True, "reason": ""}
    ]

    # From zero: no error and no warning; triggers are defined later.
    site.manage("migrate", "--verbosity", "0")
    site.shell(SET_UP)
    site.shell(FIRE.format(name="first"))
    assert site.deliveries() == [["email", "sent", ""], ["pigeon", "sent", ""]]
    assert (site.project / "pigeons.txt").read_text().startswith("ann: post_save")

    # A plugin that raises at import is reported, and every other one works.
    site.pip("install", "--no-deps", site.write_and_build("dodo", BROKEN))
    listed, checked, deployed, *_ = site.manage_all(
        (0, ["dsn_plugins", "--format", "json"]),
        (0, ["check"]),
        (1, ["check", "--deploy"]),
        (0, ["migrate", "--verbosity", "0"]),
        (1, ["dsn_plugins", "--check"]),
    )
    dodo = by_name(listed)["dodo"]
    assert (dodo["state"], "extinct" in dodo["reason"]) == ("broken", True)
    assert "dsn.W010" in checked.stderr
    assert "dsn.E015" in deployed.stderr
    site.shell(FIRE.format(name="second"))
    assert [delivery[:2] for delivery in site.deliveries()[2:]] == [["email", "sent"], ["pigeon", "sent"]]
    site.pip("uninstall", "--yes", "dsn-dodo")

    # What is uninstalled is gone from the list; what rows still name waits, and is said with a way out.
    site.pip("uninstall", "--yes", "dsn-email")
    listed, checked = site.manage_all((0, ["dsn_plugins", "--format", "json"]), (0, ["check", "--database", "default"]))
    assert set(by_name(listed)) == {"builtin", "pigeon"}
    assert "dsn.W030" in checked.stderr
    site.shell(FIRE.format(name="third"))
    shown, ready = site.manage_all((0, ["shell", "-c", textwrap.dedent(STATUSES)]), (1, ["dsn_plugins", "--check"]))
    assert [delivery[:2] for delivery in rows_of(shown.stdout)[4:]] == [["email", "pending"], ["pigeon", "sent"]]
    said = " ".join(ready.stdout.split())
    assert "waits for the messenger 'email', which cannot be made here: There is no messenger 'email'" in said
    assert "Install the plugin" in said
