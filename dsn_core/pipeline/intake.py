"""Intake: matched triggers become event rows, in the caller's transaction.

The one step that runs in the code that fired the signal. It may fail, but only without harm: what
it did is rolled back to a savepoint and the error is logged, or, when the caller's transaction
could not be saved, the error is raised, since ``atomic()`` would otherwise end without an error
and without the caller's data.
"""

from __future__ import annotations

import functools
import logging
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from django.db import connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.core.exceptions import SynchronousOnlyOperation

from dsn_core import conf, payload
from dsn_core.contracts.activities import Activity
from dsn_core.models import Event
from dsn_core.models.clock import DatabaseNow
from dsn_core.pipeline import context
from dsn_core.plugins.registry import registry
from dsn_core.signals import event_recorded

logger = logging.getLogger("dsn_core.intake")

T = TypeVar("T")

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
    with it. Returns the occurrence's id, or None when nothing was recorded (yet).
    """
    using = outbox()
    deep = context.depth()
    if deep > conf.current().MAX_DEPTH:
        errors["depth"] += 1
        logger.error(
            "Trigger %s matched at depth %d: messages cause one another in a loop. The event is dropped; "
            "mend the triggers, or raise DSN['MAX_DEPTH'].",
            matches[0].label,
            deep,
        )
        return None
    occurrence = uuid.uuid4()

    def write() -> None:
        text = payload.dump(activity)
        _insert(matches, activity.verb, text, occurrence, deep, using)

    if source is not None and source != using and connections[source].in_atomic_block:
        frozen = shielded(lambda: payload.dump(activity), label=matches[0].label, using=source)
        if frozen is not None:
            later = functools.partial(_insert, matches, activity.verb, frozen, occurrence, deep, using)
            transaction.on_commit(lambda: shielded(later, label=matches[0].label, using=using), using=source, robust=True)
        return occurrence if frozen is not None else None
    done = shielded(lambda: write() or True, label=matches[0].label, using=using)
    return occurrence if done else None


def shielded(work: Callable[[], T], *, label: str, using: str) -> T | None:
    """Run ``work`` in a savepoint of its own; what it raises goes no further if that is safe."""
    connection = connections[using]
    if connection.in_atomic_block and connection.needs_rollback:
        # The caller's transaction will be rolled back whatever we do, and the event with it.
        return None
    try:
        with transaction.atomic(using=using):
            return work()
    except Exception as error:
        errors["intake"] += 1
        if _is_lost(connection) or conf.current().STRICT:
            raise
        _log(error, label)
        return None


def _is_lost(connection: BaseDatabaseWrapper) -> bool:
    """Whether the caller's transaction is beyond saving, so that going on quietly would lose its data."""
    return connection.in_atomic_block and (connection.needs_rollback or connection.connection is None)


def _log(error: Exception, label: str) -> None:
    if isinstance(error, SynchronousOnlyOperation):
        logger.error(
            "Trigger %s: its event is not recorded, because the signal was sent with send() in an async "
            "context, from which the database cannot be reached. Use 'await signal.asend()'.",
            label,
        )
        return
    logger.error("Trigger %s: its event is not recorded; the code that fired the signal goes on.", label, exc_info=error)


def _insert(
    matches: Sequence[Match], verb: str, text: str, occurrence: uuid.UUID, deep: int, using: str
) -> None:
    events = Event.objects.using(using).bulk_create(
        Event(
            trigger_id=match.trigger_id,
            occurrence=occurrence,
            verb=verb,
            payload=text,
            depth=deep,
            not_before=DatabaseNow(),
        )
        for match in matches
    )
    event_recorded.send_robust(sender=Event, events=events, using=using)
    transaction.on_commit(functools.partial(wake, using), using=using, robust=True)


def wake(using: str) -> None:
    """Wake the runner of the settings. Whatever it raises stays here: the deliveries are safe in their table."""
    try:
        registry.runner(conf.current().RUNNER).wake(using)
    except Exception:
        logger.exception("The runner %r could not be woken; a worker will find the work.", conf.current().RUNNER)
