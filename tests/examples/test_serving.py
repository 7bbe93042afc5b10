"""The example to click through: ``serve.py`` in a process, with a browser's requests."""

from __future__ import annotations

import html
import http.cookiejar
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.examples.programs import CINEMA, MARKS, SECONDS, environment, without_databases

pytestmark = MARKS


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

    def log_in(self, name: str = "admin") -> None:
        fields = {"username": name, "password": "cinema", "next": "/"}
        assert f"Log out {name}" in self.post("/login/", "/login/", **fields)

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
    shutil.copytree(CINEMA, copy, ignore=without_databases)
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


def test_a_release_reaches_telephones_and_is_reported_back(serve: Callable[[], Serving]) -> None:
    site = serve()
    site.log_in()
    site.post(f"/movies/{site.key_of('Solaris')}/release/", "/")
    site.wait_for(r"Telegram to chat 1001:\n  \| Solaris can be seen from today on\.")
    site.wait_for(r"SMS to \+4915112345604:\n  \| Electric Cinema: Solaris")
    end = time.monotonic() + SECONDS
    while (page := site.get("/")).count("sent, delivered") < 2 and time.monotonic() < end:
        time.sleep(0.2)
    assert page.count("sent, delivered") == 2
    assert "bot was blocked by the user" in page
    assert "unsubscribed recipient" in page
    assert site.end(signal.SIGINT) == 0
    assert "Traceback" not in "".join(site.lines)


def test_an_account_is_connected_by_clicking(serve: Callable[[], Serving]) -> None:
    site = serve()
    site.log_in("eve")
    page = site.get("/telegram/telegram/connect/")
    (on_the_telephone,) = re.findall(r'href="(http://127\.0\.0\.1:\d+/telephone\?link=[^"]+)"', page)
    with site.browser.open(html.unescape(on_the_telephone), timeout=SECONDS) as answer:
        telephone = answer.read().decode()
    (link,) = re.findall(r'name="link" size="60" value="([^"]+)"', telephone)
    assert link.startswith("https://t.me/electric_cinema_bot?start=")
    pressed = urllib.parse.urlencode({"link": html.unescape(link), "name": "Eve"}).encode()
    with site.browser.open(on_the_telephone.partition("?")[0], pressed, timeout=SECONDS) as answer:
        said = answer.read().decode()
    confirm = "/telegram/telegram/confirm/"
    assert f'<a href="{site.url}{confirm}">' in said
    (key,) = re.findall(r'name="request" value="(\d+)"', site.get(confirm))
    assert "<strong>Eve (@eve)</strong>" in site.post(confirm, confirm, request=key, confirm="1")
    site.wait_for(r"Telegram to chat \d+:\n  \| Welcome, Eve!")
    # The link works once.
    with site.browser.open(on_the_telephone.partition("?")[0], pressed, timeout=SECONDS) as answer:
        assert "cannot be used" in answer.read().decode()
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
