"""A worker in a thread of the test's own process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

from dsn_core.runners.worker import Worker
from tests.waiting import PATIENCE


@contextmanager
def watching(**given: Any) -> Iterator[Worker]:
    """A worker in a thread of this process, ended with the block."""
    worker = Worker("default", **given)

    def watch() -> None:
        try:
            worker.watch()
        finally:
            connection.close()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()
