"""Pacing: the pause and the rate of a messenger, which all workers keep together."""

from __future__ import annotations

import dataclasses
import datetime
import logging
from collections.abc import Callable, Mapping
from typing import Any

from django.db import connections, transaction
from django.db.models import F, Q

from dsn_core.contracts.receipts import Receipt
from dsn_core.contracts.spans import Rate
from dsn_core.models import Delivery, MessengerState
from dsn_core.models.clock import DatabaseClock, DatabaseNow, now_sql
from dsn_core.models.delivery import ERROR_LENGTH, Status
from dsn_core.models.sql import storable
from dsn_core.plugins.calls import announce
from dsn_core.queue.claiming import Claim
from dsn_core.sending.batch import Batch
from dsn_core.sending.settling import Verdict
from dsn_core.signals import messenger_paused

logger = logging.getLogger("dsn_core.sending")


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


def note_sent(batch: Batch, alias: str) -> None:
    """Note that something was sent since the messenger last asked for a pause. A statement for the first that is."""
    if batch.has_sent():
        batch.is_doubted = False
        MessengerState.objects.using(batch.using).filter(messenger=alias).update(sent_at=batch.clock.now())


def begin_pause(batch: Batch, alias: str, causes: Mapping[str, Receipt]) -> None:
    """Let the messenger rest as long as the longest of ``causes`` asks, which are receipts by message id.

    What caused it is due again when the pause is over, and so behind all that is due by then. It uses up an attempt if
    others were sent since it last caused a pause: the account works, and it is this message that is refused. Otherwise
    it may be the account, and no attempt counts. What is left of the batch is given back.
    """
    longest = max(causes.values(), key=lambda receipt: receipt.after or 0.0)
    # Before the messenger's own note of the pause, which says from when on others look whether something is sent.
    now = batch.clock.now()
    seconds, reason = pause(alias, longest, batch.clock, batch.using)
    states = MessengerState.objects.using(batch.using).filter(messenger=alias)
    sent_at = states.values_list("sent_at", flat=True).first()
    has_sent = batch.has_sent()
    for key, receipt in causes.items():
        if (row := batch.in_hand.get(key)) is None:
            continue
        verdict = Verdict(Status.RETRY, receipt.reason, at_least=seconds, paused_at=now)
        is_its_own = row.paused_at is not None and (has_sent or (sent_at is not None and sent_at > row.paused_at))
        if not is_its_own:
            verdict = dataclasses.replace(verdict, after=seconds, counts=False)
        batch.verdicts[row.id] = verdict
    logger.warning("The messenger %s pauses for %g s: %s", alias, seconds, reason)
    announce(messenger_paused, MessengerState, messenger=alias, seconds=seconds, reason=reason)
    # The rest of the claim would only hear the same.
    batch.is_broken_off = True


def claim_in_turn(
    alias: str, rate: Rate, using: str, claim: Callable[[int], Claim[Delivery] | None]
) -> tuple[Claim[Delivery] | None, float | None]:
    """Claim in this worker's turn at the rate, which puts off the next turn of all workers.

    ``claim`` is called with how many messages may leave now. Returns what it claimed, and the seconds until the rate
    lets more go; None when there is no more to claim. A transaction, in which the messenger's row is locked: two
    workers never take the same turn. Unused time is not made up for, but for half a step, by which a worker may come
    late.
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
            return None, wait
        now: datetime.datetime = state.database_now
        following = state.rate_next_at or now
        if following > now:
            return None, (following - now).total_seconds()
        if (claimed := claim(rate.step)) is None:
            return None, None
        taken = len(claimed.rows) * rate.interval
        begin = max(following, now - datetime.timedelta(seconds=wait / 2))
        states.update(rate_next_at=begin + datetime.timedelta(seconds=taken))
    return claimed, taken


def put_back(alias: str, rate: Rate, count: int, using: str) -> None:
    """Give back a turn's part of the rate: ``count`` of its messages did not leave."""
    states = MessengerState.objects.using(using).filter(messenger=alias, rate_next_at__isnull=False)
    states.update(rate_next_at=F("rate_next_at") - datetime.timedelta(seconds=count * rate.interval))
