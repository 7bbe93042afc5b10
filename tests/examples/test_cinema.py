"""The example as people use it: its programs, run as processes, with real SMTP and a real browser's requests."""

from __future__ import annotations

import http.cookiejar
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import services

ROOT = Path(__file__).resolve().parent.parent.parent
CINEMA = ROOT / "examples" / "cinema"
SECONDS = 60


def has_dsn_email() -> bool:
    """Whether the plugin is installed as a package: the example finds it by its entry point."""
    from importlib_metadata import entry_points

    return any(found.value == "dsn_email.plugin" for found in entry_points(group="dsn"))


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not has_dsn_email() and not services.is_required(), reason="dsn-email is not installed as a package"
    ),
]


def environment(**more: str) -> dict[str, str]:
    """That of a person's shell: nothing of this suite's settings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "DSN_"))}
    path = os.pathsep.join(filter(None, [os.fspath(ROOT), os.environ.get("PYTHONPATH", "")]))
    return inherited | {"PYTHONPATH": path, "COLUMNS": "80"} | more


def run_demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, os.fspath(CINEMA / "demo.py"), *arguments],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.fixture(scope="module")
def demo() -> subprocess.CompletedProcess[str]:
    return run_demo()


def test_the_demo_succeeds_and_says_how_to_go_on(demo: subprocess.CompletedProcess[str]) -> None:
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert demo.stderr == ""
    assert "All 6 expected e-mails arrived, each exactly once, and no other." in demo.stdout
    assert "make serve" in demo.stdout
    assert "user admin, password cinema" in demo.stdout


def test_the_demo_shows_the_plugin_that_was_found_by_itself(demo: subprocess.CompletedProcess[str]) -> None:
    assert re.search(r"^email: active\n  dsn-email \S+, entry point$", demo.stdout, re.MULTILINE)


def test_the_demo_shows_one_email_for_each_receiver(demo: subprocess.CompletedProcess[str]) -> None:
    receivers = re.findall(r"^  To: (\S+@\S+)  \(.+\)\n  Subject: Solaris is out$", demo.stdout, re.MULTILINE)
    assert receivers == [f"{name}@example.org" for name in ("ann", "ben", "cleo", "dan", "eve", "press")]
    assert "  | Dear Ben,\n  | Solaris can be seen from today on." in demo.stdout


def test_the_demo_shows_the_deliveries_with_their_status(demo: subprocess.CompletedProcess[str]) -> None:
    rows = re.findall(r"^  (post_save|movie_released) +(\S+) +(\S+) +(\S+)", demo.stdout, re.MULTILINE)
    assert ("post_save", "console", "admin", "sent") in rows
    assert ("movie_released", "email", "fay", "skipped") in rows
    assert [row[3] for row in rows].count("sent") == 7
    assert len(rows) == 8


def test_a_release_that_is_rolled_back_leaves_nothing(demo: subprocess.CompletedProcess[str]) -> None:
    assert "It left 0 events, 0 deliveries, 0 e-mails." in demo.stdout


def test_the_demo_fits_into_80_columns(demo: subprocess.CompletedProcess[str]) -> None:
    assert [line for line in demo.stdout.splitlines() if len(line) > 80] == []


def test_the_demo_fails_loudly_when_an_email_does_not_arrive() -> None:
    refused = run_demo("--refuse", "ben@example.org")
    assert refused.returncode == 1
    assert "THE DEMO FAILED" in refused.stderr
    said = " ".join(refused.stderr.split())
    assert "ben@example.org is in the Film club and gets the Newsletter, and must get exactly one e-mail" in said
    assert "but got 0" in said
    assert "arrived, each exactly once" not in refused.stdout
    assert re.search(r"^  movie_released email    ben@example.org +failed +550", refused.stdout, re.MULTILINE)


def test_the_demo_fails_loudly_when_an_email_arrives_that_nobody_expected(tmp_path: Path) -> None:
    copy = tmp_path / "cinema"
    shutil.copytree(CINEMA, copy, ignore=shutil.ignore_patterns("__pycache__", "*.sqlite3*"))
    data = copy / "cinema" / "example_data.py"
    source = data.read_text(encoding="utf-8")
    assert 'INACTIVE: Final = ["fay"]' in source
    data.write_text(source.replace('INACTIVE: Final = ["fay"]', "INACTIVE: Final = []"), encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, os.fspath(copy / "demo.py")],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ended.returncode == 1
    assert "fay@example.org gets the Newsletter" in ended.stderr
    assert "must get no e-mail, but got 1." in " ".join(ended.stderr.split())


@pytest.mark.parametrize(
    "command", [("check",), ("makemigrations", "--check", "--dry-run")], ids=lambda command: command[0]
)
def test_the_project_is_in_order(command: tuple[str, ...], tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, os.fspath(CINEMA / "manage.py"), *command],
        env=environment(CINEMA_DATABASE=os.fspath(tmp_path / "cinema.sqlite3")),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_setting_up_twice_changes_nothing_and_tells_nobody(tmp_path: Path) -> None:
    script = (
        "import django; django.setup()\n"
        "from django.core.management import call_command\n"
        "call_command('migrate', verbosity=0)\n"
        "from cinema.models import Movie\n"
        "from dsn_core.models import Backend, Event, Subscription, Trigger\n"
        "for _ in range(2):\n"
        "    call_command('seed_cinema')\n"
        "    print([model.objects.count() for model in (Movie, Trigger, Subscription, Backend, Event)])\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script],
        cwd=CINEMA,
        env=environment(
            DJANGO_SETTINGS_MODULE="cinema_project.settings", CINEMA_DATABASE=os.fspath(tmp_path / "cinema.sqlite3")
        ),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("[3, 2, 2, 2, 0]") == 2


class Serving:
    """``serve.py`` in a process of its own, and a browser that looks at it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._printed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self._cookies = http.cookiejar.CookieJar()
        self.browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._cookies))
        self.url = self.wait_for(r"The cinema +(http://127\.0\.0\.1:\d+)/")
        self.wait_for("Quit the server")

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._printed:
                self.lines.append(line)
                self._printed.notify_all()

    def wait_for(self, pattern: str) -> str:
        """The first group (or all) of what was printed and matches."""

        def find() -> re.Match[str] | None:
            return re.search(pattern, "".join(self.lines))

        with self._printed:
            assert self._printed.wait_for(find, SECONDS), f"{pattern!r} was not printed, but {''.join(self.lines)}"
            found = find()
        assert found is not None
        return found.group(found.lastindex or 0)

    def get(self, path: str) -> str:
        with self.browser.open(self.url + path, timeout=SECONDS) as answer:
            return str(answer.read().decode())

    def post(self, path: str, page: str, **fields: str) -> str:
        """Send a form that stands on ``page``."""
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.get(page))
        assert token is not None
        data = urllib.parse.urlencode(fields | {"csrfmiddlewaretoken": token.group(1)}).encode()
        with self.browser.open(self.url + path, data, timeout=SECONDS) as answer:
            return str(answer.read().decode())

    def log_in(self) -> None:
        fields = {"username": "admin", "password": "cinema", "next": "/"}
        assert "Log out admin" in self.post("/admin/login/", "/admin/login/", **fields)

    def key_of(self, movie: str) -> str:
        """What stands for a movie that is not released yet in the addresses of its pages."""
        found = re.search(rf'<h3>{movie}</h3>.*?action="/movies/(\d+)/release/"', self.get("/"), re.DOTALL)
        assert found is not None
        return found.group(1)

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        status = self.process.wait(SECONDS)
        self._reader.join(SECONDS)
        return status


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[], Serving]]:
    # A copy: the database of whoever works on this repository stays as it is.
    copy = tmp_path / "cinema"
    shutil.copytree(CINEMA, copy, ignore=shutil.ignore_patterns("__pycache__", "*.sqlite3*"))
    processes: list[subprocess.Popen[str]] = []

    def start() -> Serving:
        process = subprocess.Popen(
            [sys.executable, os.fspath(copy / "serve.py"), "--port", "0"],
            env=environment(PYTHONUNBUFFERED="1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        processes.append(process)
        return Serving(process)

    yield start
    for process in processes:
        process.kill()
        process.wait(SECONDS)
        if process.stdout is not None:
            process.stdout.close()


def test_a_movie_is_released_by_clicking_and_the_server_ends_cleanly(serve: Callable[[], Serving]) -> None:
    site = serve()
    assert "Coming soon" in site.get("/")
    assert "Release</button>" not in site.get("/")
    site.log_in()
    solaris = site.key_of("Solaris")
    assert "Solaris is released." in site.post(f"/movies/{solaris}/release/", "/")
    for name in ("ann", "ben", "cleo", "dan", "eve", "press"):
        site.wait_for(f"E-mail to {name}@example.org: Solaris is out")
    printed = "".join(site.lines)
    assert printed.count("E-mail to ") == 6
    assert "fay@example.org" not in printed

    movies = "/admin/cinema/movie/"
    said = site.post(movies, movies, action="release", index="0", _selected_action=site.key_of("Playtime"))
    assert "Playtime is released." in said
    site.wait_for("E-mail to eve@example.org: Playtime is out")

    preview = site.get(f"/movies/{solaris}/e-mail/")
    assert "Dear admin," in preview
    assert f'href="{site.url}/"' in preview

    assert site.end(signal.SIGINT) == 0
    assert "Traceback" not in "".join(site.lines)


def test_the_server_begins_again_with_the_database_that_is_there(serve: Callable[[], Serving]) -> None:
    first = serve()
    first.log_in()
    first.post(f"/movies/{first.key_of('Stalker')}/release/", "/")
    assert first.end(signal.SIGTERM) == 0

    second = serve()
    assert "Out since" in second.get("/")
    assert second.end(signal.SIGINT) == 0


def test_visitors_cannot_release_a_movie(serve: Callable[[], Serving]) -> None:
    site = serve()
    with pytest.raises(urllib.error.HTTPError, match="403"):
        # Without a page that has the form, there is no token.
        site.browser.open(f"{site.url}/movies/1/release/", b"", timeout=SECONDS)
    assert "Log in" in site.post("/movies/1/release/", "/admin/login/")
    assert "Out since" not in site.get("/")
    assert site.end(signal.SIGINT) == 0
