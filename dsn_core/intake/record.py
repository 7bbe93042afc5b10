"""Recording: matched triggers become event rows, in the caller's transaction.

This runs in the code that fired the signal, and must not harm it: a failure is undone, and events that the database
refuses for now are kept and tried again. An error is raised in two cases only. When the caller's transaction cannot be
saved: otherwise ``atomic()`` would end without an error and without the caller's data. When the transaction must be run
again: then the second run saves both.
"""

from __future__ import annotations

import functools
import logging
import uuid
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar

from django.core.exceptions import SynchronousOnlyOperation
from django.db import connections, router, transaction

from dsn_core import conf, context, payload, savepoints
from dsn_core.conditions.signal_call import SignalCall
from dsn_core.intake.storing import NewEvent
from dsn_core.intake.trouble import errors, named
from dsn_core.intake.waiting import keep
from dsn_core.models import Event
from dsn_core.models.clock import uuid7

logger = logging.getLogger("dsn_core.intake")

T = TypeVar("T")


class MatchedTrigger(Protocol):
    """The attributes of a matched trigger that recording needs."""

    @property
    def trigger_id(self) -> int: ...
    @property
    def label(self) -> str: ...


class Match(NamedTuple):
    """A call of a signal, and the triggers that it matched."""

    call: SignalCall
    triggers: Sequence[MatchedTrigger]


def outbox() -> str:
    """The alias of the database where events are recorded."""
    return router.db_for_write(Event)


def record(matches: Sequence[Match], *, source: str | None = None) -> list[uuid.UUID | None]:
    """Record an event for each trigger of each of ``matches``, and wake the runner after the commit.

    ``source`` is the alias of the database in which the change was made. If it is not the outbox, the events are
    recorded after the commit there: not after a rollback, but not atomically. Returns for each match its occurrence's
    id, or None where nothing was recorded.
    """
    using, depth = outbox(), context.depth()
    nothing: list[uuid.UUID | None] = [None for _ in matches]
    triggers = [trigger for match in matches for trigger in match.triggers]
    if not triggers:
        return nothing
    if depth > conf.current().MAX_DEPTH:
        errors["depth"] += 1
        logger.error(
            "Trigger %s matched at depth %d: messages cause one another in a loop. The event is dropped; "
            "correct the triggers, or raise DSN['MAX_DEPTH'].",
            named(trigger.label for trigger in triggers),
            depth,
        )
        return nothing

    occurrences: list[uuid.UUID | None] = list(nothing)

    def prepare() -> list[NewEvent]:
        events = []
        with savepoints.guarded():
            for number, (call, found) in enumerate(matches):
                if found:
                    occurrences[number] = occurrence = uuid7()
                    text = payload.dump(call)
                    if lost := payload.lost_in(text):
                        _say_what_is_lost(lost, found)
                    events += [NewEvent(trigger.trigger_id, occurrence, call.verb, text, depth) for trigger in found]
        return events

    if source is None or source == using or source not in connections or not connections[source].in_atomic_block:
        is_kept = shielded(functools.partial(keep, prepare, using, may_raise=True), triggers, using=using)
        return occurrences if is_kept else nothing
    # Prepared now, since the instance may change before that commit.
    events = shielded(prepare, triggers, using=source)
    if events is None:
        return nothing

    def later() -> None:
        # A function, not a partial: Django needs its name when it raises.
        shielded(lambda: keep(lambda: events, using, may_raise=False), triggers, using=using)

    # With STRICT it raises; otherwise no error reaches the caller.
    transaction.on_commit(later, using=source, robust=not conf.current().STRICT)
    return occurrences


#: The values whose loss was logged, by trigger: once per process.
_said: set[tuple[int, str]] = set()
MAX_SAID = 10_000


def _say_what_is_lost(lost: Sequence[payload.Missing], triggers: Sequence[MatchedTrigger]) -> None:
    """Log once for each trigger which values of the signal its events do not hold."""
    for name, why in {item.name: item.why for item in lost}.items():
        new = [trigger for trigger in triggers if (trigger.trigger_id, name) not in _said]
        if not new or len(_said) > MAX_SAID:
            continue
        _said.update((trigger.trigger_id, name) for trigger in new)
        logger.warning(
            "Trigger %s: its event is recorded without %r (%s). A message that uses it will fail with an error. "
            "This is logged once.",
            named(trigger.label for trigger in new),
            name,
            why,
        )


def shielded(work: Callable[[], T], triggers: Sequence[MatchedTrigger], *, using: str) -> T | None:
    """Run ``work``, which undoes its changes when it fails, and swallow its exception if that is safe."""
    connection = connections[using]
    if connection.in_atomic_block and connection.needs_rollback:
        # The caller's transaction will be rolled back in any case, and the event with it.
        return None
    try:
        return work()
    except SynchronousOnlyOperation:
        # No query ran, so the caller's transaction is as it was.
        errors["async"] += 1
        if conf.current().STRICT:
            raise
        logger.error(
            "Trigger %s: its event is not recorded, because the signal was sent with send() in an async "
            "context, from which the database cannot be reached. Use 'await signal.asend()'.",
            named(trigger.label for trigger in triggers),
        )
    except BaseException as error:
        errors["intake"] += 1
        if conf.current().STRICT or savepoints.is_callers(error, met_savepoint=True):
            raise
        logger.error(
            "Trigger %s: its event is not recorded; the code that fired the signal goes on.",
            named(trigger.label for trigger in triggers),
            exc_info=error,
        )
    return None
