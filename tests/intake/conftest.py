from __future__ import annotations

from collections.abc import Iterator

import pytest

from dsn_core.intake import storing
from dsn_core.intake.backlog import backlog
from tests.intake.refusing import Database


@pytest.fixture(autouse=True)
def _workers_runner(workers_runner: None) -> None:
    """Nothing is sent until a test says so."""


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """The database, which may be told to refuse events."""
    made = Database(storing.write)
    monkeypatch.setattr(storing, "write", made.write)
    yield made
    made.error = None
    assert backlog.wait(30)
    # As a process begins.
    backlog.__init__()  # type: ignore[misc]
