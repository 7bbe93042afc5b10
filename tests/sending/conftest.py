from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _workers_runner(workers_runner: None) -> None:
    """Nothing is sent until a test says so."""
