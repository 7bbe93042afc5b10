"""What is old goes, beside workers that hardly notice."""

from __future__ import annotations

import contextlib
import datetime
import io
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.db.models import Max

from bench.data import crowd, numbers
from bench.rows import Size
from bench.table import Row, rates
from bench.workers import wait_until, workers
from dsn_core import emit
from dsn_core.models import Delivery, Event, Trigger
from dsn_core.runners import driver

#: Rows a second; and the rate of a worker beside a purge, of its rate alone.
BOUND, BESIDE = 20_000, 0.95
PAGE = 1_000
AGE = datetime.timedelta(days=30)


def measure(size: Size) -> Iterator[Row]:
    """The rate of a purge whose tables hold as many younger rows, then a worker's rate alone and beside one, in turns.

    Half of the rows are of events with one delivery each, half of a few large events. The control deletes deliveries by
    hand, page by page, without a rest.
    """
    number, receivers = size.of(500_000, 40_000), size.of(30_000, 6_000)
    if connection.vendor == "sqlite":
        # One writer at a time: a worker waits for a purge.
        yield Row(f"purge of {number:,} rows", "", "", bound=f">{BOUND:,}")
        return
    backends = [("nothing", "greeting")]
    user = User.objects.create(username="ann", email="ann@example.org")
    Trigger.objects.define("released", target="one").subscribe(users=[user], backends=backends)
    Trigger.objects.define("released", target="all").subscribe(groups=[crowd(receivers)], backends=backends)
    emit("released", target="one", film="Alien")
    driver.drain("default")
    sample = Event.objects.get().pk
    fill(sample, number)
    control = _by_hand(number // 4)
    fill(sample, number)
    before, started = _rows(), time.perf_counter()
    call_command("dsn_purge", older_than=AGE, stdout=io.StringIO())
    ours = (before - _rows()) / (time.perf_counter() - started)
    row = rates(f"purge of {number:,} rows", control, ours, None)
    yield Row(row.name, row.control, row.ours, row.ratio, bound=f">{BOUND // 1000}k", ok=ours >= BOUND)
    alone, beside = [], []
    with workers(1):
        for _ in range(size.of(5, 2)):
            fill(sample, number)
            alone.append(_rate(receivers))
            with purging():
                beside.append(_rate(receivers))
    ratios = [there / here for there, here in zip(beside, alone, strict=True)]
    ratio, control = statistics.median(ratios), statistics.median(alone)
    yield rates("... a worker beside it", control, control * ratio, BESIDE, (max(ratios) - min(ratios)) / 2)


@contextlib.contextmanager
def purging() -> Iterator[None]:
    """``dsn_purge`` in a process of its own, at work; ended at the end of the block."""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "bench.settings", "PYTHONPATH": os.environ["PYTHONPATH"]}
    before = _rows()
    command = [sys.executable, "-m", "django", "dsn_purge", "--older-than", "30d"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        while _rows() == before and process.poll() is None:
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(60)


def fill(sample: int, number: int) -> None:
    """``number`` old rows, and as many younger ones, like those of the event ``sample``. What there was else goes."""
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {Delivery._meta.db_table} WHERE event_id <> %s", [sample])  # noqa: S608 - a name
        cursor.execute(f"DELETE FROM {Event._meta.db_table} WHERE id <> %s", [sample])  # noqa: S608 - a name
        cursor.execute(f"VACUUM {Delivery._meta.db_table}, {Event._meta.db_table}")
        for age in ("60 days", "1 day"):
            for events, deliveries in ((number // 4, 1), (4, number // 8)):
                _copy(sample, events, deliveries, age)
        cursor.execute("ANALYZE")


def _copy(sample: int, events: int, deliveries: int, age: str) -> None:
    """``events`` of that age, each with so many ``deliveries``, copied by the database."""
    event, delivery = Event._meta.db_table, Delivery._meta.db_table
    own = {"id", "occurrence", "created_at", "event_id", "user_id"}
    of_event = ", ".join(field.column for field in Event._meta.concrete_fields if field.column not in own)
    names = [field.column for field in Delivery._meta.concrete_fields if field.column not in own]
    of_delivery = ", ".join(f"sample.{name}" for name in names)
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH made AS (INSERT INTO {event} ({of_event}, occurrence, created_at) "  # noqa: S608 - our own names
            f"SELECT {of_event}, gen_random_uuid(), now() - %s::interval FROM {event}, ({numbers(events)}) numbers "
            f"WHERE id = %s RETURNING id, occurrence) "
            f"INSERT INTO {delivery} ({', '.join(names)}, created_at, event_id, occurrence, user_id) "
            f"SELECT {of_delivery}, now() - %s::interval, made.id, made.occurrence, n "
            f"FROM made, {delivery} AS sample, ({numbers(deliveries)}) numbers "
            "WHERE sample.event_id = %s ORDER BY made.id, n",
            [age, sample, age, sample],
        )


def _rows() -> int:
    return Event.objects.count() + Delivery.objects.count()


def _by_hand(number: int) -> float:
    """Deliveries a second that a loop of two statements deletes."""
    table, last = Delivery._meta.db_table, 0
    started = time.perf_counter()
    with connection.cursor() as cursor:
        for _ in range(number // PAGE):
            cursor.execute(f"SELECT id FROM {table} WHERE id > %s ORDER BY id LIMIT {PAGE}", [last])  # noqa: S608
            keys = [key for (key,) in cursor.fetchall()]
            cursor.execute(f"DELETE FROM {table} WHERE id = ANY (%s)", [keys])  # noqa: S608 - a name
            last = keys[-1]
    return number / (time.perf_counter() - started)


def _rate(receivers: int) -> float:
    """Deliveries a second of one event, from emit to the last that was settled."""
    emit("released", target="all", film="Alien")
    event = Event.objects.latest("id")
    sent = event.deliveries.filter(status=Delivery.Status.SENT)
    wait_until(lambda: sent.count() == receivers)
    return receivers / (sent.aggregate(last=Max("finished_at"))["last"] - event.created_at).total_seconds()
