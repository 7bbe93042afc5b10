"""What all tests of the repository share, those of the core and those of the plugins."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator

import hypothesis
import pytest

from tests import services

ABSENT = "service absent: "

# A machine that is busy with other things is no fault of what makes the examples.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")


def pytest_configure() -> None:
    """Hear SIGINT: started in the background of a script it is ignored, and by every process of ours after it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, so that no process begins it when the others have nothing left to do."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose service is absent; in CI, fail it."""
    for marker in item.iter_markers("requires_service"):
        (name,) = marker.args
        if reason := services.absence(name):
            if services.is_required():
                pytest.fail(f"{ABSENT}{name}: {reason}", pytrace=False)
            pytest.skip(f"{ABSENT}{name}: {reason}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the absent services, with the number of tests that were skipped for each."""
    reasons = [
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple)
    ]
    absent = [reason for reason in reasons if reason.startswith(ABSENT)]
    if absent:
        terminalreporter.section("absent services")
        for reason in sorted(set(absent)):
            terminalreporter.line(f"{reason.removeprefix(ABSENT)} -> {absent.count(reason)} tests skipped")


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses connections. It stays reserved: only a server that reuses addresses can take it."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield int(reserved.getsockname()[1])


@pytest.fixture
def child_environment(transactional_db: None) -> dict[str, str]:
    """The environment for a process that a test starts, so that it works on this test's database.

    With it ``[sys.executable, "-m", "django", "dsn_worker", "--once"]`` sees what the test has committed.
    """
    from django.conf import settings
    from django.db import connection

    root = os.fspath(settings.BASE_DIR)
    path = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "DSN_TEST_DATABASE_NAME": str(connection.settings_dict["NAME"]),
        "PYTHONPATH": os.pathsep.join(path),
    }
