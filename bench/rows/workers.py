"""More workers send more: a messenger waits for its provider, and so do its workers, side by side."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from django.db import connection

from bench.data import crowd
from bench.rows import Size
from bench.rows.fanout import empty
from bench.table import Row, rates
from dsn_core import emit
from dsn_core.models import Delivery, Event, Trigger

BOUND = 3.5
WORKERS = 4


def measure(size: Size) -> Iterator[Row]:
    """One worker and four, in turns."""
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
    """Deliveries a second, from the first to the last settled one, by workers that stood ready before."""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "bench.settings", "PYTHONPATH": os.getcwd()}  # noqa: PTH109
    with tempfile.TemporaryDirectory() as folder:
        signs = [Path(folder, str(index)) for index in range(workers)]
        command = [sys.executable, "-m", "django", "dsn_worker", "--health-file"]
        started = [
            subprocess.Popen(
                [*command, str(sign)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            for sign in signs
        ]
        try:
            _wait_until(lambda: all(sign.exists() for sign in signs))
            emit("released", film="Alien")
            sent = Delivery.objects.filter(status=Delivery.Status.SENT)
            _wait_until(lambda: sent.count() == number)
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait(60)
    moments = list(sent.order_by("finished_at").values_list("finished_at", flat=True))
    # The middle nine tenths: while all of them were at work.
    first, last = number // 20, number - number // 20 - 1
    rate = (last - first) / (moments[last] - moments[first]).total_seconds()
    empty(Delivery, Event)
    return rate


def _wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 600
    while not is_so():
        assert time.monotonic() < deadline, "The workers did not come to an end."
        time.sleep(0.5)
