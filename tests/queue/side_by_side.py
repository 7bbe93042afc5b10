"""Workers that claim at the same time, each in a thread with a connection of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, connections, transaction


def claimed_side_by_side(workers: int, take: Callable[[], Any]) -> list[int]:
    """The keys of all rows that so many workers claimed by ``take``, each until it found none."""
    start = threading.Barrier(workers)

    def work() -> list[int]:
        mine: list[int] = []
        try:
            start.wait(60)
            while (found := take()) is not None:
                mine.extend(row.pk for row in found.rows)
                time.sleep(0.002)
        finally:
            connections.close_all()
        return mine

    with ThreadPoolExecutor(workers) as pool:
        working = [pool.submit(work) for _ in range(workers)]
        return [key for worker in working for key in worker.result(60)]


def claimed_meanwhile(first: Callable[[], Any], second: Callable[[], Any]) -> tuple[list[Any], list[Any]]:
    """The rows of ``first``, and those of ``second`` in another worker before the first has committed."""
    if not connection.features.has_select_for_update_skip_locked:
        pytest.skip("a single-writer claim: the second one waits")

    def work() -> list[Any]:
        try:
            return list(second().rows)
        finally:
            connections.close_all()

    # The transaction ends first: a second worker that waits for its lock could never be joined before.
    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        mine = first().rows
        return mine, pool.submit(work).result(20)
