"""Intake: matched triggers become event rows, in the caller's transaction.

The one step that runs in the code that fired the signal. It may fail, but only without harm: what
it did is taken back and the error is logged, or, when the caller's transaction could not be saved,
the error is raised, since ``atomic()`` would otherwise end without an error and without the
caller's data.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import uuid
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol, TypeVar

from django.core.exceptions import SynchronousOnlyOperation
from django.db import DatabaseError, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import TransactionManagementError

from dsn_core import conf, context, payload, savepoints
from dsn_core.conditions.signal_call import SignalCall
from dsn_core.intake import insert
from dsn_core.intake.insert import NewEvent
from dsn_core.models import Event
from dsn_core.models.clock import uuid7
from dsn_core.plugins.registry import registry
from dsn_core.signals import event_recorded

logger = logging.getLogger("dsn_core.intake")

T = TypeVar("T")

#: Triggers that one line of the log names.
MAX_NAMED = 5

#: What went wrong in this process, by kind; for tests and health pages.
errors: Counter[str] = Counter()


class MatchedTrigger(Protocol):
    """What recording needs of a trigger that matched."""

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
    """Record an event for each trigger of each of ``matches``, and have the runner woken after the commit.

    ``source`` is the alias of the database in which the change was made. When that is not the
    outbox, recording waits for the commit there: never after a rollback, though not atomic with
    it. Returns for each match its occurrence's id, or None where nothing was recorded.
    """
    using = outbox()
    nothing: list[uuid.UUID | None] = [None for _ in matches]
    triggers = [trigger for match in matches for trigger in match.triggers]
    depth = context.depth()
    if not triggers or _is_too_deep(depth, triggers):
        return nothing

    def prepare() -> tuple[list[uuid.UUID | None], list[NewEvent]]:
        occurrences, events = list(nothing), []
        with savepoints.guarded():
            for number, (call, found) in enumerate(matches):
                if found:
                    occurrences[number] = occurrence = uuid7()
                    text = payload.dump(call)
                    _say_what_is_lost(text, found)
                    events += [NewEvent(trigger.trigger_id, occurrence, call.verb, text, depth) for trigger in found]
        return occurrences, events

    def write() -> list[uuid.UUID | None]:
        occurrences, events = prepare()
        _insert(events, using)
        return occurrences

    if source is None or source == using or source not in connections or not connections[source].in_atomic_block:
        return shielded(write, triggers, using=using) or nothing
    # The instance may be changed until that commit comes: what it is now is what counts.
    prepared = shielded(prepare, triggers, using=source)
    if prepared is None:
        return nothing
    occurrences, events = prepared

    def later() -> None:
        # A function, not a partial: where one raises, Django asks for its name.
        shielded(functools.partial(_insert, events, using), triggers, using=using)

    # Strict, it raises like the rest; otherwise not even what only Django could swallow reaches the caller.
    transaction.on_commit(later, using=source, robust=not conf.current().STRICT)
    return occurrences


#: What was said of lost values, by trigger: once in a process.
_said: set[tuple[int, str]] = set()
MAX_SAID = 10_000


def _say_what_is_lost(text: str, triggers: Sequence[MatchedTrigger]) -> None:
    """Log once for each trigger which values of the signal its events do not hold."""
    lost = {item.name: item.why for item in payload.lost_in(text)}
    for name, why in lost.items():
        new = [trigger for trigger in triggers if (trigger.trigger_id, name) not in _said]
        if not new or len(_said) > MAX_SAID:
            continue
        _said.update((trigger.trigger_id, name) for trigger in new)
        logger.warning(
            "Trigger %s: its event is recorded without %r (%s). A message that uses it will fail, and say so. "
            "This is logged once.",
            named(trigger.label for trigger in new),
            name,
            why,
        )


def _is_too_deep(depth: int, triggers: Sequence[MatchedTrigger]) -> bool:
    if depth <= conf.current().MAX_DEPTH:
        return False
    errors["depth"] += 1
    logger.error(
        "Trigger %s matched at depth %d: messages cause one another in a loop. The event is dropped; "
        "mend the triggers, or raise DSN['MAX_DEPTH'].",
        named(trigger.label for trigger in triggers),
        depth,
    )
    return True


def named(labels: Iterable[str]) -> str:
    """Triggers' names as a log shows them."""
    distinct = list(dict.fromkeys(labels))
    more = f" and {len(distinct) - MAX_NAMED} more" if len(distinct) > MAX_NAMED else ""
    return ", ".join(distinct[:MAX_NAMED]) + more


def shielded(work: Callable[[], T], triggers: Sequence[MatchedTrigger], *, using: str) -> T | None:
    """Run ``work``, which takes back what it did when it fails; what it raises goes no further if that is safe."""
    connection = connections[using]
    if connection.in_atomic_block and connection.needs_rollback:
        # The caller's transaction will be rolled back whatever we do, and the event with it.
        return None
    try:
        return work()
    except SynchronousOnlyOperation:
        # Nothing has been asked of the database, so the caller's transaction is as it was.
        errors["async"] += 1
        if conf.current().STRICT:
            raise
        logger.error(
            "Trigger %s: its event is not recorded, because the signal was sent with send() in an async "
            "context, from which the database cannot be reached. Use 'await signal.asend()'.",
            named(trigger.label for trigger in triggers),
        )
    except Exception as error:
        errors["intake"] += 1
        if conf.current().STRICT or savepoints.any_is_lost():
            raise
        logger.error(
            "Trigger %s: its event is not recorded; the code that fired the signal goes on.",
            named(trigger.label for trigger in triggers),
            exc_info=error,
        )
    return None


def _insert(events: Sequence[NewEvent], using: str) -> None:
    is_heard = event_recorded.has_listeners(Event)
    with transaction.atomic(using=using) if is_heard or _is_by_hand(connections[using]) else contextlib.nullcontext():
        insert.write(events, using)
        if is_heard:
            _tell(events, using)
        transaction.on_commit(functools.partial(_wake_once, using, next(_numbers)), using=using, robust=True)


def _is_by_hand(connection: BaseDatabaseWrapper) -> bool:
    """Whether the project manages its transactions itself, and ``on_commit()`` takes nothing outside of a block."""
    return not connection.in_atomic_block and not connection.get_autocommit()


def _tell(events: Sequence[NewEvent], using: str) -> None:
    """Tell who listens, whose failing query must not take the events along."""
    with contextlib.suppress(DatabaseError), context.deeper(), transaction.atomic(using=using):
        occurrences = {event.occurrence for event in events}
        rows = Event.objects.using(using).filter(occurrence__in=occurrences).order_by("id")
        event_recorded.send_robust(sender=Event, events=list(rows), using=using)
    if connections[using].needs_rollback:
        # Without an error of ours, atomic() would roll back and say nothing.
        raise TransactionManagementError("The transaction was lost while receivers of event_recorded were told.")


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
