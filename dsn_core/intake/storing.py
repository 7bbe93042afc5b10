"""Events become rows, who listens is told, and the runner is woken after the commit."""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import weakref
from collections.abc import Sequence

from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import TransactionManagementError

from dsn_core import conf, context
from dsn_core.database_errors import is_conflict
from dsn_core.intake import insert
from dsn_core.intake.insert import NewEvent
from dsn_core.models import Event
from dsn_core.plugins.registry import registry
from dsn_core.signals import event_recorded

logger = logging.getLogger("dsn_core.intake")


def store(events: Sequence[NewEvent], using: str, *, may_raise: bool = False) -> None:
    """Insert ``events``, all or none. When it fails, an open transaction is as it was before, if it can be saved.

    ``may_raise``: a conflict that a receiver of ``event_recorded`` met is raised, for the transaction to be run again.
    """
    is_heard = event_recorded.has_listeners(Event)
    with transaction.atomic(using=using) if is_heard or _is_by_hand(connections[using]) else contextlib.nullcontext():
        insert.write(events, using)
        if is_heard:
            _tell(events, using, may_raise)
        transaction.on_commit(functools.partial(_wake_once, using, next(_numbers)), using=using, robust=True)


def _is_by_hand(connection: BaseDatabaseWrapper) -> bool:
    """Whether the project manages its transactions itself, and ``on_commit()`` takes nothing outside of a block."""
    return not connection.in_atomic_block and not connection.get_autocommit()


def _tell(events: Sequence[NewEvent], using: str, may_raise: bool) -> None:
    """Tell who listens, whose failing query must not take the events along."""
    answers: Sequence[tuple[object, object]] = ()
    with contextlib.suppress(DatabaseError), context.deeper(), transaction.atomic(using=using):
        occurrences = {event.occurrence for event in events}
        rows = Event.objects.using(using).filter(occurrence__in=occurrences).order_by("id")
        answers = event_recorded.send_robust(sender=Event, events=list(rows), using=using)
    if connections[using].needs_rollback:
        # Without an error of ours, atomic() would roll back and say nothing.
        raise TransactionManagementError("The transaction was lost while receivers of event_recorded were told.")
    for _, answer in answers:
        if may_raise and isinstance(answer, Exception) and is_conflict(answer):
            raise answer


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
