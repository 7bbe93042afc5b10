"""A worker in a thread of the test's own process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

from dsn_core.runners.worker import Worker


def wait_for(what: Callable[[], Any], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


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
        thread.join(30)
        assert not thread.is_alive()
