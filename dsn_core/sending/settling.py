"""Settling: what became of a batch is written down, in one statement, if the batch is still ours."""

from __future__ import annotations

import datetime
import itertools
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from django.db import Error, connections
from django.db.models import QuerySet
from django.db.models.functions import Coalesce

from dsn_core import conf
from dsn_core._thread_state import drop
from dsn_core.contracts.receipts import Outcome, Receipt
from dsn_core.models import Delivery
from dsn_core.models.clock import DatabaseNow
from dsn_core.models.delivery import (
    ADDRESS_LENGTH,
    ERROR_LENGTH,
    FINAL,
    PROVIDER_ID_LENGTH,
    TRANSITIONS,
    Report,
    Status,
)
from dsn_core.models.sql import storable
from dsn_core.models.subscription import Priority
from dsn_core.plugins.calls import announce
from dsn_core.plugins.errors import describe
from dsn_core.queue import waits
from dsn_core.queue.claiming import Claim, chunks
from dsn_core.queue.updating import update
from dsn_core.signals import address_refused, delivery_finished

logger = logging.getLogger("dsn_core.settling")

Written = TypeVar("Written")

#: What a report of delivery shows to be wrong.
REPORTABLE = (Status.UNKNOWN, Status.RETRY)
#: Seconds before a batch that could not be settled is tried again.
SETTLE_AGAIN = 0.5


@dataclass(frozen=True)
class Verdict:
    """What a delivery's row will say.

    ``after``: seconds until the next attempt, None when the back-off decides; used by RETRY only.
    ``not_before``: the moment of the next attempt, which goes before ``after``.
    ``at_least``: seconds below which the back-off does not fall.
    ``counts``: whether the attempt is used up.
    ``refused_address``: whether the address is what it failed for.
    ``held``: whether it waits for something to be installed, or for a setting to be mended: for a day at most.
    ``paused_at``: when its messenger asked for a pause because of it.
    ``given_back``: whether it is left to others, as if it had not been claimed.
    """

    status: Status
    error: str = ""
    after: float | None = None
    not_before: datetime.datetime | None = None
    at_least: float = 0.0
    provider_id: str = ""
    counts: bool = True
    refused_address: bool = False
    held: bool = False
    paused_at: datetime.datetime | None = None
    given_back: bool = False


#: What nearly all get: one object for all.
SENT: Final = Verdict(Status.SENT)


def verdict_of(receipt: Receipt, *, retry_unknown: bool) -> Verdict:
    """The verdict that a messenger's receipt means."""
    match receipt.outcome:
        case Outcome.SENT:
            return Verdict(Status.SENT, provider_id=receipt.provider_id) if receipt.provider_id else SENT
        case Outcome.RETRY:
            return Verdict(Status.RETRY, receipt.reason, at_least=receipt.after or 0.0)
        case Outcome.PAUSE | Outcome.LATER:
            return Verdict(Status.RETRY, receipt.reason, after=receipt.after, counts=False)
        case Outcome.UNKNOWN:
            return Verdict(Status.RETRY if retry_unknown else Status.UNKNOWN, receipt.reason)
        case Outcome.FAILED | Outcome.INVALID_ADDRESS:
            refused = receipt.outcome is Outcome.INVALID_ADDRESS
            return Verdict(Status.FAILED, receipt.reason, refused_address=refused)


def settle(
    rows: Sequence[Delivery],
    claimed: Claim[Delivery],
    verdicts: Mapping[int, Verdict],
    using: str,
    insists: Callable[[], bool] | None = None,
) -> int:
    """Write down the verdicts (by delivery key) of ``rows``, which are of one claim; return how many were still ours.

    A row whose lease was taken over by another worker is left to that one. Should the database be away, or refuse to
    write, it is tried again while ``insists()`` (None: never), and then raises what the database raises.
    """
    moment = claimed.clock.now()
    for row in rows:
        # Not a second time, after settling was interrupted: what uses up no attempt would give one back twice.
        if not row.settled:
            values = _settled(row, verdicts[row.id], moment)
            vars(row).update(values, settled=values.keys())
    written = [row for row in rows if not (claimed.ends_with_rest and verdicts[row.id].given_back)]
    settled = len(rows) - len(written)
    for some in chunks(written):
        # Nearly all have the same ones.
        columns = dict.fromkeys(itertools.chain.from_iterable(dict.fromkeys(tuple(row.settled) for row in some)))
        names = [name for name in columns if name not in claimed.empty or any(getattr(row, name) for row in some)]
        settled += insist(partial(update, some, names, using, claimed.owned(using)), using, insists)
    if settled < len(rows):
        logger.warning(
            "%d of %d deliveries were taken over by another worker before they were settled: their lease had ended. "
            "If this happens often, raise DSN['LEASE_SECONDS'].",
            len(rows) - settled,
            len(rows),
        )
    if doubtful := [row.id for row in rows if row.status in REPORTABLE]:
        believe_reports(Delivery.objects.using(using).filter(pk__in=doubtful))
    if delivery_finished.has_listeners(Delivery) or address_refused.has_listeners(Delivery):
        finished = [row for row in rows if row.status in FINAL]
        refused = {row.pk for row in finished if verdicts[row.pk].refused_address}
        _tell(finished, refused, moment, using, all_ours=settled == len(rows))
    return settled


def end(
    claimed: Claim[Delivery], verdicts: Mapping[int, Verdict], using: str, insists: Callable[[], bool] | None = None
) -> None:
    """Let go of a claim of which every row is settled or given back."""
    is_rest_left = any(verdict.given_back for verdict in verdicts.values())
    insist(partial(claimed.end, using, is_rest_left=is_rest_left), using, insists)


def _tell(
    finished: Sequence[Delivery], refused: Collection[int], moment: datetime.datetime, using: str, *, all_ours: bool
) -> None:
    """Send ``delivery_finished`` for those that this worker finished, and ``address_refused`` where it was that."""
    if not all_ours:
        # Another worker took some over; what is in the database says which.
        rows = Delivery.objects.using(using).filter(pk__in=[row.pk for row in finished], finished_at=moment)
        held = set(rows.values_list("pk", flat=True))
        finished = [row for row in finished if row.pk in held]
    for row in finished:
        announce(delivery_finished, Delivery, delivery=row)
        if row.pk in refused:
            user = row.user if row.user_id is not None and Delivery.user.is_cached(row) else None
            said = {"messenger": row.messenger, "address": row.address, "user": user, "reason": row.last_error}
            announce(address_refused, Delivery, delivery=row, **said)


def _settled(row: Delivery, verdict: Verdict, moment: datetime.datetime) -> dict[str, Any]:
    """What the row of a delivery that was claimed says from now on: the one place where it gets its next status.

    Settling writes the columns that it names, and no others.
    """
    status, error, after = verdict.status, verdict.error, verdict.after
    attempts = row.attempts if verdict.counts else row.attempts - 1
    rare: dict[str, Any] = {}
    if verdict.paused_at is not None:
        # Once may be anything's fault. From the second time on it goes behind those of every priority.
        rare["priority"] = Priority.LOW if row.paused_at is not None else row.priority
        rare["paused_at"] = verdict.paused_at
    if verdict.held:
        after = waits.wait_of(row.held_since, moment)
        rare["held_since"] = row.held_since or moment
        if after is None:
            status, error = Status.FAILED, f"Given up after a day: {error.rstrip('.')}. {waits.SEND_AGAIN}"
    elif verdict.counts and row.held_since is not None:
        rare["held_since"] = None
    if status is Status.RETRY and attempts >= conf.current().MAX_ATTEMPTS:
        status = Status.FAILED
        error = f"Given up after {attempts} attempts. The last one: {error or 'no reason given'}"
    if status not in TRANSITIONS[Status.SENDING]:
        raise AssertionError(f"A delivery cannot go from {Status.SENDING} to {status}.")
    if is_final := status in FINAL:
        not_before = None
    else:
        after = max(waits.backoff(attempts), verdict.at_least) if after is None else after
        not_before = verdict.not_before or moment + datetime.timedelta(seconds=after)
    return {
        "status": status,
        "attempts": attempts,
        "not_before": not_before,
        "lease_token": None,
        # It has left its page: what waits from here on waits by itself.
        "page_key": None,
        "address": storable(row.address, ADDRESS_LENGTH),
        "last_error": error and storable(error, ERROR_LENGTH),
        "provider_id": verdict.provider_id and storable(verdict.provider_id, PROVIDER_ID_LENGTH),
        "finished_at": moment if is_final else None,
        **rare,
    }


def believe_reports(rows: QuerySet[Delivery]) -> None:
    """Those of ``rows`` that look as if they were not sent, but that the provider reported delivered, were sent.

    The report may have come while the answer was still awaited.
    """
    rows.filter(status__in=REPORTABLE, report=Report.DELIVERED).update(
        status=Status.SENT, not_before=None, finished_at=Coalesce("finished_at", DatabaseNow())
    )


def insist(write: Callable[[], Written], using: str, insists: Callable[[], bool] | None) -> Written:
    """Write, however often it takes, while ``insists()``: what was sent must not be sent again.

    The database may be restarting, or a replica that answers and takes no writes. A connection that failed twice is
    replaced: a new one may lead elsewhere.
    """
    connection = connections[using]
    failures = 0
    while True:
        try:
            return write()
        except Error as error:
            if connection.in_atomic_block or insists is None or not insists():
                raise
            failures += 1
            if failures == 1:
                connection.close_if_unusable_or_obsolete()
            else:
                drop(connection)
            level = logging.ERROR if failures == 2 else logging.WARNING if failures == 1 else logging.DEBUG
            logger.log(level, "A batch could not be settled, and is tried again: %s", describe(error))
            time.sleep(SETTLE_AGAIN)
