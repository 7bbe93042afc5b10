"""Intake: matched triggers become event rows, in the caller's transaction.

The one step that runs in the code that fired the signal. It may fail, but only without harm: what
it did is rolled back to a savepoint and the error is logged, or, when the caller's transaction
could not be saved, the error is raised, since ``atomic()`` would otherwise end without an error
and without the caller's data.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import uuid
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from django.core.exceptions import SynchronousOnlyOperation
from django.db import DatabaseError, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import TransactionManagementError

from dsn_core import conf, payload
from dsn_core.contracts.activities import Activity
from dsn_core.models import Event
from dsn_core.models.clock import DatabaseNow
from dsn_core.pipeline import context
from dsn_core.plugins.registry import registry
from dsn_core.signals import event_recorded

logger = logging.getLogger("dsn_core.intake")

T = TypeVar("T")

#: Triggers that one line of the log names.
MAX_NAMED = 5

#: What went wrong in this process, by kind; for tests and health pages.
errors: Counter[str] = Counter()


@dataclass(frozen=True)
class Match:
    """A trigger that matched, as far as recording needs it."""

    trigger_id: int
    label: str


def outbox() -> str:
    """The alias of the database where events are recorded."""
    return router.db_for_write(Event)


def record(matches: Sequence[Match], activity: Activity, *, source: str | None = None) -> uuid.UUID | None:
    """Record an event for each of ``matches`` and have the runner woken after the commit.

    ``source`` is the alias of the database in which the signal's change was made. When that is not
    the outbox, recording waits for the commit there: never after a rollback, though not atomic
    with it. Returns the occurrence's id, or None when nothing was recorded.
    """
    using = outbox()
    label = _labels(matches)
    depth = context.depth()
    if depth > conf.current().MAX_DEPTH:
        errors["depth"] += 1
        logger.error(
            "Trigger %s matched at depth %d: messages cause one another in a loop. The event is dropped; "
            "mend the triggers, or raise DSN['MAX_DEPTH'].",
            label,
            depth,
        )
        return None
    occurrence = uuid.uuid4()

    def insert(text: str) -> bool:
        _insert(matches, activity.verb, text, occurrence, depth, using)
        return True

    if source is None or source == using or source not in connections or not connections[source].in_atomic_block:
        return occurrence if shielded(lambda: insert(payload.dump(activity)), label=label, using=using) else None
    # The instance may be changed until that commit comes: what it is now is what counts.
    text = shielded(lambda: payload.dump(activity), label=label, using=source)
    if text is None:
        return None
    later = functools.partial(shielded, functools.partial(insert, text), label=label, using=using)
    transaction.on_commit(later, using=source, robust=True)
    return occurrence


def _labels(matches: Sequence[Match]) -> str:
    """The triggers' names as a log shows them."""
    more = f" and {len(matches) - MAX_NAMED} more" if len(matches) > MAX_NAMED else ""
    return ", ".join(match.label for match in matches[:MAX_NAMED]) + more


def shielded(work: Callable[[], T], *, label: str, using: str) -> T | None:
    """Run ``work`` in a savepoint of its own; what it raises goes no further if that is safe."""
    connection = connections[using]
    if connection.in_atomic_block and connection.needs_rollback:
        # The caller's transaction will be rolled back whatever we do, and the event with it.
        return None
    try:
        with transaction.atomic(using=using):
            result = work()
            if connection.needs_rollback:
                # Somebody whom the work called (a codec, who hears of events) swallowed an error of the
                # database. Without one of ours, atomic() would roll back and say nothing.
                raise TransactionManagementError("An error of the database was swallowed while the event was recorded.")
            return result
    except SynchronousOnlyOperation:
        # Nothing has been asked of the database, so the caller's transaction is as it was.
        errors["async"] += 1
        if conf.current().STRICT:
            raise
        logger.error(
            "Trigger %s: its event is not recorded, because the signal was sent with send() in an async "
            "context, from which the database cannot be reached. Use 'await signal.asend()'.",
            label,
        )
    except Exception as error:
        errors["intake"] += 1
        if conf.current().STRICT or _is_lost(connection):
            raise
        logger.error(
            "Trigger %s: its event is not recorded; the code that fired the signal goes on.", label, exc_info=error
        )
    return None


def _is_lost(connection: BaseDatabaseWrapper) -> bool:
    """Whether the caller's transaction is beyond saving, so that going on quietly would lose its data."""
    if not connection.in_atomic_block:
        return False
    return connection.needs_rollback or connection.connection is None or not connection.is_usable()


def has_lost_a_transaction() -> bool:
    """Whether a transaction that this thread has open, on whichever database, is beyond saving."""
    return any(_is_lost(connection) for connection in connections.all(initialized_only=True))


def _insert(matches: Sequence[Match], verb: str, text: str, occurrence: uuid.UUID, depth: int, using: str) -> None:
    events = Event.objects.using(using).bulk_create(
        Event(
            trigger_id=match.trigger_id,
            occurrence=occurrence,
            verb=verb,
            payload=text,
            depth=depth,
            not_before=DatabaseNow(),
        )
        for match in matches
    )
    if event_recorded.has_listeners(Event):
        # Whose failing query must not take the event along.
        with contextlib.suppress(DatabaseError), transaction.atomic(using=using):
            event_recorded.send_robust(sender=Event, events=events, using=using)
    transaction.on_commit(functools.partial(_wake_once, using, next(_numbers)), using=using, robust=True)


_numbers = itertools.count()
#: By connection, the number up to which its events have had their wake-up.
_woken: weakref.WeakKeyDictionary[BaseDatabaseWrapper, int] = weakref.WeakKeyDictionary()


def _wake_once(using: str, number: int) -> None:
    """Wake the runner once for all events of a transaction: the first of their calls does it."""
    connection = connections[using]
    if number > _woken.get(connection, -1):
        _woken[connection] = next(_numbers)
        wake(using)


def wake(using: str) -> None:
    """Wake the runner of the settings. Whatever it raises stays here: the deliveries are safe in their table."""
    try:
        registry.runner(conf.current().RUNNER).wake(using)
    except Exception:
        logger.exception("The runner %r could not be woken; a worker will find the work.", conf.current().RUNNER)
