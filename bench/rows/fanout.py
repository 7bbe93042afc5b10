"""From one event to a settled delivery for each of many receivers, by one worker.

The control is a project's own outbox in plain Django code: it renders the same message, and neither leases nor retries.
Beside it stand one that renders nothing, and what ours does without its messages, as floors. Within one process Python
runs on one processor at a time; ``dsn_worker --processes 2`` uses two. On SQLite there is one writer, and one process.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence

import jinja2
from django.contrib.auth.models import Group, User
from django.db import connection

from bench import control
from bench.data import crowd, lanes
from bench.dsn_plugin import Greeting
from bench.measure import steady
from bench.models import Job
from bench.rows import Size
from bench.table import Row, rates
from bench.workers import send_to_all, wait_until, workers
from dsn_core import emit
from dsn_core.fanout.expander import expand_due
from dsn_core.models import Delivery, Event, Trigger
from dsn_core.runners.worker import Worker

#: Of PostgreSQL: most bytes of its log for a delivery, and the least part of updates that write no index.
WAL_BYTES, HOT_SHARE = 900, 0.8
_subject, _greeting = jinja2.Template(Greeting.subject), jinja2.Template(Greeting.text)


def send_nothing(jobs: Sequence[Job]) -> None:
    """What the control's messenger does."""


def render(jobs: Sequence[Job]) -> None:
    """The same, with a message for each receiver."""
    users = User.objects.in_bulk([job.user_id for job in jobs])
    for job in jobs:
        user = users[job.user_id]
        assert _subject.render(user=user, film="Alien")
        assert _greeting.render(user=user, film="Alien")


def measure(size: Size) -> Iterator[Row]:
    number = size.of(100_000, 5_000)
    group = crowd(number)
    Trigger.objects.define("released").subscribe(groups=[group], backends=[("nothing", "greeting")])
    is_single = connection.vendor == "sqlite"
    ways: dict[str, Callable[[], float]] = {
        "outbox": lambda: _control(group, number, render, control.work_alone),
        "leasing": lambda: _control(group, number, render, control.work),
        "bare": lambda: _control(group, number, send_nothing, control.work),
        "one": lambda: _ours(number, 1),
        "three": lambda: _ours(number, 3),
        "two processes": lambda: _by_processes(number),
        "making": lambda: _making(number),
    }
    if is_single:
        del ways["two processes"]
    found: dict[str, list[float]] = {name: [] for name in ways}
    with steady():
        for _ in range(size.of(3, 2)):
            for name, way in ways.items():
                found[name].append(way())
    yield from _writes(number)
    for name, plain, ours, bound in (
        (f"{number:,} receivers", "outbox", "one", 1.0 if is_single else 1.5),
        ("... 2 processes", "outbox", "two processes", 2.5),
        ("... CONNECTIONS 3", "outbox", "three", None),
        ("... a control with leases", "leasing", "one", None),
        ("... and that renders nothing", "bare", "one", None),
    ):
        if ours in found:
            ratios = [there / here for there, here in zip(found[ours], found[plain], strict=True)]
            rate, spread = statistics.median(found[plain]), (max(ratios) - min(ratios)) / 2
            yield rates(name, rate, rate * statistics.median(ratios), bound, spread)
    yield Row("... only making our rows", "", f"{statistics.median(found['making']):,.0f}/s")


def _control(
    group: Group,
    number: int,
    send: Callable[[Sequence[Job]], object],
    work: Callable[[Callable[[Sequence[Job]], object]], int],
) -> float:
    started = time.perf_counter()
    control.fill(group, 1)
    assert work(send) == number
    rate = number / (time.perf_counter() - started)
    empty(Job)
    return rate


def _ours(number: int, several: int) -> float:
    with lanes("nothing", several):
        started = time.perf_counter()
        emit("released", film="Alien")
        assert Worker("default").drain().deliveries == number
        rate = number / (time.perf_counter() - started)
    assert Delivery.objects.filter(status=Delivery.Status.SENT).count() == number
    empty(Delivery, Event)
    return rate


def _by_processes(number: int) -> float:
    with workers(1, "--processes", "2"):
        rate = number / send_to_all(number).total_seconds()
    empty(Delivery, Event)
    return rate


def _writes(number: int) -> Iterator[Row]:
    """What PostgreSQL writes for a delivery, from the event to the last settling."""
    if connection.vendor != "postgresql":
        return
    before, updates = _wal(), _updates()
    emit("released", film="Alien")
    assert Worker("default").drain().deliveries == number
    written = (_wal() - before) / number
    wait_until(lambda: _updates()[0] >= updates[0] + number)
    done, hot = (there - here for there, here in zip(_updates(), updates, strict=True))
    empty(Delivery, Event)
    yield Row("... WAL of a delivery", "", f"{written:,.0f} B", bound=f"<={WAL_BYTES}", ok=written <= WAL_BYTES)
    share = hot / done
    yield Row("... updates that write no index", "", f"{share:.0%}", bound=f">={HOT_SHARE:.0%}", ok=share >= HOT_SHARE)


def _wal() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_wal_lsn() - '0/0'")
        return int(cursor.fetchone()[0])


def _updates() -> tuple[int, int]:
    """Rows of deliveries that were updated, and those of them whose new versions stayed in their block (HOT)."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = %s", [Delivery._meta.db_table]
        )
        updates, hot = cursor.fetchone()
        return int(updates), int(hot)


def _making(number: int) -> float:
    emit("released", film="Alien")
    started = time.perf_counter()
    expand_due("default")
    rate = number / (time.perf_counter() - started)
    empty(Delivery, Event)
    return rate


def empty(*models: type[Job] | type[Delivery] | type[Event]) -> None:
    """Begin with empty tables again, as small as they were."""
    with connection.cursor() as cursor:
        for model in models:
            table = connection.ops.quote_name(model._meta.db_table)
            if connection.vendor == "postgresql":
                cursor.execute(f"TRUNCATE {table} CASCADE")
            else:
                cursor.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
