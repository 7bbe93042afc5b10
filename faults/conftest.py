"""Fixtures of the fault tests: processes on this test's database, a provider, and the figures at the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from faults.stage.provider import Provider

#: The figures of each test, in order: printed at the end.
FIGURES: list[tuple[str, str]] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="The faults as often as the scorecard asks; takes long.")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "everywhere: also on MariaDB and SQLite")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    database = os.environ.get("DSN_TEST_DATABASE", "sqlite")
    if database == "postgresql":
        return
    skipped = [item for item in items if item.get_closest_marker("everywhere") is None]
    items[:] = [item for item in items if item not in skipped]
    config.hook.pytest_deselected(items=skipped)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FIGURES:
        terminalreporter.section(f"figures on {os.environ.get('DSN_TEST_DATABASE', 'sqlite')}")
        for name, text in FIGURES:
            terminalreporter.line(f"{name:<34} {text}")


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Note what a test measured, under its name."""
    name = request.node.name.removeprefix("test_").replace("_", " ")[:34]
    return lambda text: FIGURES.append((name, text))


@pytest.fixture
def full(request: pytest.FixtureRequest) -> bool:
    """Whether the faults happen as often as the scorecard asks."""
    return bool(request.config.getoption("--full"))


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    """What the provider took, over all processes."""
    return Provider(tmp_path / "provider")


@pytest.fixture
def environment(child_environment: dict[str, str], tmp_path: Path, provider: Provider) -> dict[str, str]:
    """For processes on this test's database. A test adds ``FAULTS_*`` to it."""
    once = tmp_path / "once"
    once.mkdir()
    return child_environment | {
        "DJANGO_SETTINGS_MODULE": "faults.settings",
        "FAULTS_PROVIDER": os.fspath(tmp_path / "provider"),
        "FAULTS_ONCE": os.fspath(once),
        "FAULTS_SCRIPT": os.fspath(tmp_path / "script"),
        # Leases as short as faults are frequent.
        "FAULTS_DSN": json.dumps({"LEASE_SECONDS": 2}),
    }


class Workers:
    """Worker processes of one test. All are gone at its end."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._environment = environment
        self._log = log
        self.running: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Another ``dsn_worker``, with its output in the test's log."""
        command = [sys.executable, "-m", "django", "dsn_worker", *arguments]
        with self._log.open("a") as log:
            process = subprocess.Popen(command, env=self._environment | environment, stdout=log, stderr=log, text=True)
        self.running.append(process)
        return process

    def kill(self, process: subprocess.Popen[str]) -> None:
        """End it as the kernel would."""
        process.kill()
        process.wait()
        self.running.remove(process)

    def stop(self, process: subprocess.Popen[str], seconds: float = 30) -> int:
        """Ask it to end in good order; return its exit status."""
        process.terminate()
        status = process.wait(seconds)
        self.running.remove(process)
        return status

    def finish(self) -> None:
        """Work off what is left, in good order."""
        subprocess.run(
            [sys.executable, "-m", "django", "dsn_worker", "--once"],
            env=self._environment,
            stdout=subprocess.DEVNULL,
            check=True,
            timeout=300,
        )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def end(self) -> None:
        for process in self.running:
            # SIGKILL ends a stopped process, too.
            process.kill()
            process.wait()


@pytest.fixture
def workers(environment: dict[str, str], tmp_path: Path) -> Iterator[Workers]:
    made = Workers(environment, tmp_path / "log")
    yield made
    made.end()


@pytest.fixture
def audience(transactional_db: None) -> Callable[[int], list[Any]]:
    """So many users."""
    from django.contrib.auth.models import User

    def make(number: int) -> list[Any]:
        rows = [User(username=f"user{n}", email=f"user{n}@example.org") for n in range(number)]
        User.objects.bulk_create(rows, batch_size=5_000)
        return list(User.objects.order_by("pk"))

    return make


@pytest.fixture
def stage(transactional_db: None) -> Callable[..., None]:
    """Record an event of which deliveries are to be made, by the messenger that is named."""
    from dsn_core import emit
    from dsn_core.models import Trigger

    def play(messenger: str = "file", *, events: int = 1, **receivers: Any) -> None:
        receivers = receivers or {"resolver": "everyone"}
        trigger = Trigger.objects.define("staged")
        trigger.subscribe(messenger, backends=[(messenger, "staged")], **receivers)
        for _ in range(events):
            assert emit("staged") is not None

    return play
