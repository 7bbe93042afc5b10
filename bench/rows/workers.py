"""More workers send more: a messenger waits for its provider, and so do its workers, side by side."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import connection

from bench.data import crowd
from bench.rows import Size
from bench.rows.fanout import empty
from bench.table import Row, rates
from bench.workers import send_to_all, workers
from dsn_core.models import Delivery, Event, Trigger

BOUND = 3.5
WORKERS = 4


def measure(size: Size) -> Iterator[Row]:
    """One worker and four, in turns."""
    if connection.vendor == "sqlite":
        # One writer at a time: on SQLite there is one worker.
        yield Row(f"1 worker, {WORKERS} workers", "", "", bound=f">{BOUND}")
        return
    number = size.of(20_000, 12_000)
    group = crowd(number)
    Trigger.objects.define("released").subscribe(groups=[group], backends=[("slow", "greeting")])
    single, several = [], []
    for _ in range(size.of(3, 1)):
        single.append(_rate(1, number))
        several.append(_rate(WORKERS, number))
    ratios = [there / here for there, here in zip(several, single, strict=True)]
    middle = sorted(range(len(ratios)), key=ratios.__getitem__)[len(ratios) // 2]
    yield rates(f"1 worker, {WORKERS} workers", single[middle], several[middle], BOUND, (max(ratios) - min(ratios)) / 2)


def _rate(number_of_workers: int, number: int) -> float:
    """Deliveries a second, from the first to the last settled one, by workers that stood ready before."""
    with workers(number_of_workers):
        send_to_all(number)
    moments = list(Delivery.objects.order_by("finished_at").values_list("finished_at", flat=True))
    # The middle nine tenths: while all of them were at work.
    first, last = number // 20, number - number // 20 - 1
    rate = (last - first) / (moments[last] - moments[first]).total_seconds()
    empty(Delivery, Event)
    return rate
