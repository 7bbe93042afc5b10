"""Pacing: the pause and the rate of a messenger, which all workers keep together."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connections, transaction
from django.db.models import F, Q

from dsn_core.contracts.receipts import Receipt
from dsn_core.contracts.spans import Rate
from dsn_core.models import MessengerState
from dsn_core.models.clock import DatabaseClock, DatabaseNow, now_sql
from dsn_core.models.delivery import ERROR_LENGTH
from dsn_core.models.sql import storable


def is_paused(alias: str, using: str) -> bool:
    """Whether the messenger asked for a pause that is not over. Any worker may have heard it.

    Raw SQL: Django takes longer to write this query than the database to answer it.
    """
    connection = connections[using]
    table, *columns = map(connection.ops.quote_name, (MessengerState._meta.db_table, "messenger", "paused_until"))
    paused = f"SELECT 1 FROM {table} WHERE {columns[0]} = %s AND {columns[1]} > {now_sql(connection)}"  # noqa: S608 - names
    with connection.cursor() as cursor:
        cursor.execute(paused, [alias])
        return cursor.fetchone() is not None


def pause(alias: str, receipt: Receipt, clock: DatabaseClock, using: str) -> tuple[float, str]:
    """Let the messenger rest in all workers, as its receipt asks; return for how many seconds, and why."""
    seconds, reason = receipt.after or 0.0, storable(receipt.reason, ERROR_LENGTH)
    until = clock.now(seconds)
    states = MessengerState.objects.using(using)
    states.get_or_create(messenger=alias)
    states.filter(messenger=alias).update(paused_at=clock.now())
    shorter = Q(paused_until__isnull=True) | Q(paused_until__lt=until)
    states.filter(shorter, messenger=alias).update(paused_until=until, pause_reason=reason)
    return seconds, reason


@dataclass
class Turn:
    """A worker's turn at the rate: ``limit`` messages may leave now, or none before ``rest`` seconds are over."""

    limit: int
    rest: float = 0.0
    #: How many did leave.
    taken: int = 0


@contextlib.contextmanager
def turn(alias: str, rate: Rate, using: str) -> Iterator[Turn]:
    """One worker's turn: what it sets as ``taken`` puts off the next turn of all workers.

    A transaction, in which the messenger's row is locked: two workers never take the same turn. Time
    that nobody used is not made up for, but for half a step, by which a worker may come late.
    """
    states = MessengerState.objects.using(using).filter(messenger=alias)
    features = connections[using].features
    with transaction.atomic(using=using):
        if not features.has_select_for_update:
            # Writing first waits for SQLite's write lock; a transaction that has read before would fail at once.
            states.update(messenger=alias)
        locked = states.select_for_update(skip_locked=features.has_select_for_update_skip_locked)
        state: Any = locked.annotate(database_now=DatabaseNow()).first()
        wait = rate.step * rate.interval
        if state is None:
            # Another worker has the turn.
            yield Turn(0, rest=wait)
            return
        now: datetime.datetime = state.database_now
        following = state.rate_next_at or now
        if following > now:
            yield Turn(0, rest=(following - now).total_seconds())
            return
        mine = Turn(rate.step)
        yield mine
        if mine.taken:
            begin = max(following, now - datetime.timedelta(seconds=wait / 2))
            states.update(rate_next_at=begin + datetime.timedelta(seconds=mine.taken * rate.interval))


def put_back(alias: str, rate: Rate, count: int, using: str) -> None:
    """Give back a turn's part of the rate: ``count`` of its messages did not leave."""
    states = MessengerState.objects.using(using).filter(messenger=alias, rate_next_at__isnull=False)
    states.update(rate_next_at=F("rate_next_at") - datetime.timedelta(seconds=count * rate.interval))
