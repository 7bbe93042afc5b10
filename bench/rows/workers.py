"""More workers send more: a messenger waits for its provider, and so do its workers, side by side."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

from django.db import connection

from bench.data import crowd
from bench.rows import Size
from bench.rows.fanout import empty
from bench.table import Row, rates
from dsn_core import emit
from dsn_core.models import Delivery, Event, Trigger
from dsn_core.pipeline.fanout import expand_due

BOUND = 3.5
WORKERS = 4


def measure(size: Size) -> Iterator[Row]:
    """The time from the moment when all workers stand ready until nothing is left."""
    if connection.vendor == "sqlite":
        # One writer at a time: on SQLite there is one worker.
        yield Row(f"1 worker, {WORKERS} workers", "", "", bound=f">{BOUND}")
        return
    number = size.of(20_000, 4_000)
    group = crowd(number)
    Trigger.objects.define("released").subscribe(groups=[group], backends=[("slow", "greeting")])
    single, several = [], []
    for _ in range(size.of(3, 1)):
        single.append(_rate(1, number))
        several.append(_rate(WORKERS, number))
    ratios = [there / here for there, here in zip(several, single, strict=True)]
    middle = sorted(range(len(ratios)), key=ratios.__getitem__)[len(ratios) // 2]
    yield rates(f"1 worker, {WORKERS} workers", single[middle], several[middle], BOUND, (max(ratios) - min(ratios)) / 2)


def _rate(workers: int, number: int) -> float:
    """Deliveries a second, counted from the first to the last settled one: without the start of the processes."""
    emit("released", film="Alien")
    expand_due("default")
    command = [sys.executable, "-m", "django", "dsn_worker", "--once"]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "bench.settings", "PYTHONPATH": os.getcwd()}  # noqa: PTH109
    started = [
        subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for _ in range(workers)
    ]
    deadline = time.monotonic() + 600
    for process in started:
        _, said = process.communicate(timeout=max(deadline - time.monotonic(), 1))
        assert process.returncode == 0, said.decode()
    sent = Delivery.objects.filter(status=Delivery.Status.SENT).order_by("finished_at")
    assert sent.count() == number
    moments = list(sent.values_list("finished_at", flat=True))
    # The middle nine tenths: while all of them were at work.
    first, last = number // 20, number - number // 20 - 1
    rate = (last - first) / (moments[last] - moments[first]).total_seconds()
    empty(Delivery, Event)
    return rate
