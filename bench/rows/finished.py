"""What is finished does not stand in the way of what is to be sent."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from django.contrib.auth.models import User
from django.db import connections

from bench.data import numbers
from bench.databases import Switch, made, on
from bench.measure import Work, compare
from bench.rows import Size
from bench.table import Row, at_most
from dsn_core import emit, refresh
from dsn_core.models import Delivery, Event, Trigger
from dsn_core.runners import driver


def measure(size: Size) -> Iterator[Row]:
    """The same send in two databases: one with empty tables, one with those deliveries."""
    number = size.of(1_000_000, 50_000)
    with made("full"):
        for alias in ("default", "full"):
            with on(alias):
                user = User.objects.create(username="ann", email="ann@example.org")
                trigger = Trigger.objects.define("released")
                trigger.subscribe(users=[user], backends=[("nothing", "greeting")])
                send()
        fill(number)
        ours = Work(send, lambda: _on("full"))
        found = compare(Work(send, lambda: _on("default")), ours, pairs=size.of(60, 20), calls=5)
        yield at_most(f"one send, {number:,} finished", found, 1.10)


@contextlib.contextmanager
def _on(alias: str) -> Iterator[None]:
    with on(alias):
        refresh()
        yield


def send() -> None:
    """From the event to its settled delivery."""
    emit("released", film="Alien")
    assert driver.drain(Switch.alias).deliveries == 1


def fill(number: int) -> None:
    """``number`` deliveries that were sent, in the database ``full``, copied by the database from the one there is."""
    connection = connections["full"]
    quote = connection.ops.quote_name
    with on("full"):
        sample = Delivery.objects.get()
        assert sample.status == Delivery.Status.SENT
        columns = [field.column for field in Delivery._meta.concrete_fields if field.column not in ("id", "user_id")]
        names = ", ".join(map(quote, columns))
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {quote(Delivery._meta.db_table)} ({names}, user_id) "  # noqa: S608 - our own names
                f"SELECT {names}, 1000000 + n FROM {quote(Delivery._meta.db_table)}, ({numbers(number)}) numbers"
            )
            cursor.execute("ANALYZE")
        assert Delivery.objects.count() == number + 1
        assert Event.objects.count() == 1
