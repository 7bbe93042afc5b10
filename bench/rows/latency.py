"""How long an idle worker takes from the commit of an event to the hand-over of its message."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from django.contrib.auth.models import User
from django.db import connection

from bench.rows import Size
from bench.table import Row, seconds
from bench.workers import workers
from dsn_core import emit
from dsn_core.models import Trigger

#: Seconds: the median, and what 99 of 100 keep.
MEDIAN, MOST = 0.010, 0.025
#: Seconds between two events: the worker is idle before each.
PAUSE = 0.1
ROUND_TRIPS = 20


def measure(size: Size) -> Iterator[Row]:
    """One event with one receiver at a time, to a worker in a process of its own. The control is 20 round trips."""
    if connection.vendor != "postgresql":
        # Without notices a worker looks once a second.
        yield Row("commit to hand-over", "", "", bound=f"<{MEDIAN * 1e3:.0f}ms")
        return
    user = User.objects.create(username="ann", email="ann@example.org")
    Trigger.objects.define("released").subscribe(users=[user], backends=[("noting", "greeting")])
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder, "notes")
        notes.touch()
        os.environ["DSN_BENCH_NOTES"] = str(notes)
        with workers(1):
            # The first makes the messenger known.
            for _ in range(5):
                _from_commit(notes)
            found = [(_round_trips(), _from_commit(notes)) for _ in range(size.of(500, 50))]
    control, ours = statistics.median(trips for trips, _ in found), sorted(late for _, late in found)
    for name, middle, bound in (
        ("commit to hand-over, median", ours[len(ours) // 2], MEDIAN),
        ("... 99 of 100", ours[len(ours) * 99 // 100], MOST),
    ):
        ratio = f"{middle / control:.2f}"
        yield Row(name, seconds(control), seconds(middle), ratio, bound=f"<{bound * 1e3:.0f}ms", ok=middle <= bound)


def _from_commit(notes: Path) -> float:
    time.sleep(PAUSE)
    before = notes.stat().st_size
    emit("released", film="Alien")
    committed = time.monotonic()
    while not (text := notes.read_text()[before:]).endswith("\n"):
        assert time.monotonic() < committed + 60, "The worker did not send it."
        time.sleep(0.002)
    return float(text) - committed


def _round_trips() -> float:
    started = time.perf_counter()
    with connection.cursor() as cursor:
        for _ in range(ROUND_TRIPS):
            cursor.execute("SELECT 1")
    return time.perf_counter() - started
