"""Starting the processes, and talking to them."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dsn_core.models import Event, Trigger
from tests.waiting import PATIENCE

#: Seconds after which the processes must follow: their DSN["REFRESH_SECONDS"].
REFRESH = 0.2
#: Seconds for which a page keeps its process, so that the next request goes to the other one.
HOLD = 0.05


@pytest.fixture(autouse=True)
def _nothing_runs_here(settings: Any) -> None:
    settings.DSN = {"RUNNER": "worker", "REFRESH_SECONDS": 3_600}


@pytest.fixture
def environment(child_environment: dict[str, str]) -> dict[str, str]:
    """That of a process on this test's database, whose settings look every REFRESH seconds."""
    return child_environment | {
        "DJANGO_SETTINGS_MODULE": "tests.processes.settings",
        "DSN_TEST_REFRESH_SECONDS": str(REFRESH),
    }


@pytest.fixture
def listen(transactional_db: None) -> Callable[..., Trigger]:
    """Define a trigger with a subscription."""

    def define(verb: str, **parts: Any) -> Trigger:
        trigger = Trigger.objects.define(verb, **parts)
        trigger.subscribe()
        return trigger

    return define


@pytest.fixture
def count_events(transactional_db: None) -> Callable[[Trigger], int]:
    """The number of events that a trigger recorded."""
    return lambda trigger: Event.objects.filter(trigger_id=trigger.pk).count()


def follow() -> None:
    """Let the time pass after which every process must have followed."""
    time.sleep(REFRESH)


class Web:
    """gunicorn with two workers."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.request("GET", path)[2])
        return found

    def request(
        self, method: str, path: str, data: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, int, bytes]:
        """Ask; return the status, the process id of the worker that answered, and the body."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with contextlib.closing(client):
            given = dict(headers or {})
            body = None
            if data is not None:
                body = urllib.parse.urlencode(data)
                given["Content-Type"] = "application/x-www-form-urlencoded"
            client.request(method, path, body, given)
            response = client.getresponse()
            return response.status, int(response.getheader("X-Process", "0")), response.read()

    def both(self, path: str) -> dict[int, dict[str, Any]]:
        """The answers of both workers, by their process ids."""
        answers: dict[int, dict[str, Any]] = {}
        end = time.monotonic() + PATIENCE
        while len(answers) < 2:
            assert time.monotonic() < end, f"only {sorted(answers)} answered"
            # Two at a time, each of which keeps its worker busy for a moment.
            with ThreadPoolExecutor(2) as pool:
                for answer in pool.map(self.get, [f"{path}?hold={HOLD}"] * 2):
                    answers.setdefault(answer["pid"], answer)
        return answers

    def recorded(self, model: str) -> list[list[int]]:
        """The triggers that record the saving of a row: for each of the two workers."""
        return [self.recorded_by(pid, model) for pid in sorted(self.both("/plain/"))]

    def recorded_by(self, pid: int, model: str) -> list[int]:
        """The same for one of them, from its first row on."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            # While one worker is busy, the other one answers.
            busy = threading.Thread(target=self.get, args=(f"/plain/?hold={HOLD}",))
            busy.start()
            time.sleep(HOLD / 5)
            answer = self.get(f"/save/{model}/")
            busy.join(PATIENCE)
            if answer["pid"] == pid:
                found: list[int] = answer["triggers"]
                return found
        raise AssertionError(f"the worker {pid} answered no more")


@pytest.fixture
def serve(environment: dict[str, str]) -> Iterator[Callable[..., Web]]:
    """Start gunicorn with two workers. Keyword arguments are variables of its environment."""
    with contextlib.ExitStack() as stack:

        def start(*arguments: str, **variables: str) -> Web:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            command = [
                *(sys.executable, "-m", "gunicorn", "tests.processes.wsgi", "--workers", "2"),
                *("--bind", f"fd://{listener.fileno()}", "--log-level", "warning", *arguments),
            ]
            process = subprocess.Popen(
                command,
                env=environment | variables,
                pass_fds=[listener.fileno()],
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.callback(_end, process)
            web = Web(listener.getsockname()[1])
            web.both("/plain/")
            return web

        yield start


def _end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        _, said = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert (process.returncode, said) == (0, "")
