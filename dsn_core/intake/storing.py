"""Storing of events: inserts them, sends ``event_recorded``, and wakes the runner after the commit."""

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
    """Insert ``events``, all or none. When it fails, an open transaction is as it was before, if possible.

    ``may_raise``: a conflict in a receiver of ``event_recorded`` is raised, so that the transaction is run again.
    """
    is_heard = event_recorded.has_listeners(Event)
    with transaction.atomic(using=using) if is_heard or _is_by_hand(connections[using]) else contextlib.nullcontext():
        insert.write(events, using)
        if is_heard:
            _tell(events, using, may_raise)
        transaction.on_commit(functools.partial(_wake_once, using, next(_numbers)), using=using, robust=True)


def _is_by_hand(connection: BaseDatabaseWrapper) -> bool:
    """Whether autocommit is off, where ``on_commit()`` needs an ``atomic()`` block."""
    return not connection.in_atomic_block and not connection.get_autocommit()


def _tell(events: Sequence[NewEvent], using: str, may_raise: bool) -> None:
    """Send ``event_recorded``; a failing query of a receiver must not roll back the events."""
    answers: Sequence[tuple[object, object]] = ()
    with contextlib.suppress(DatabaseError), context.deeper(), transaction.atomic(using=using):
        occurrences = {event.occurrence for event in events}
        rows = Event.objects.using(using).filter(occurrence__in=occurrences).order_by("id")
        answers = event_recorded.send_robust(sender=Event, events=list(rows), using=using)
    if connections[using].needs_rollback:
        # Otherwise atomic() would roll back without an error.
        raise TransactionManagementError("The transaction was lost in receivers of the signal event_recorded.")
    for _, answer in answers:
        if may_raise and isinstance(answer, Exception) and is_conflict(answer):
            raise answer


_numbers = itertools.count()
#: By connection, the number up to which its events have caused their wake-up.
_woken: weakref.WeakKeyDictionary[BaseDatabaseWrapper, int] = weakref.WeakKeyDictionary()


def _wake_once(using: str, number: int) -> None:
    """Wake the runner once for all events of a transaction, at the first of their calls."""
    connection = connections[using]
    if number > _woken.get(connection, -1):
        _woken[connection] = next(_numbers)
        wake(using)


def wake(using: str) -> None:
    """Wake the runner of the settings, and log its errors: the events and deliveries are stored already."""
    try:
        registry.runner(conf.current().RUNNER).wake(using)
    except Exception:
        logger.exception("The runner %r could not be woken; a worker will find the work.", conf.current().RUNNER)
