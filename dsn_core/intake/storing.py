"""Storing of events: inserts them with one INSERT, sends ``event_recorded``, and wakes the runner after the commit.

Raw SQL, because it runs in the code that fired the signal: Django's ``bulk_create`` takes longer for one row than
the database does.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import uuid
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import TransactionManagementError

from dsn_core import conf, context, savepoints
from dsn_core.database_errors import is_conflict
from dsn_core.models import Event
from dsn_core.models.clock import now_sql
from dsn_core.models.sql import literal
from dsn_core.plugins.registry import registry
from dsn_core.signals import event_recorded

logger = logging.getLogger("dsn_core.intake")

#: Rows and characters per statement: accepted by every database with its default settings.
MAX_ROWS: Final = 1_000
MAX_CHARACTERS: Final = 4_000_000


@dataclass(frozen=True)
class NewEvent:
    """The columns whose values differ between events."""

    trigger_id: int
    occurrence: uuid.UUID
    verb: str
    payload: str
    depth: int


_GIVEN: Final = ("trigger_id", "occurrence", "verb", "payload", "depth")
_NOW: Final = ("not_before", "created_at")


def store(events: Sequence[NewEvent], using: str, *, may_raise: bool = False) -> None:
    """Insert ``events``, all or none. When it fails, an open transaction is as it was before, if possible.

    ``may_raise``: a conflict in a receiver of ``event_recorded`` is raised, so that the transaction is run again.
    """
    connection = connections[using]
    is_heard = event_recorded.has_listeners(Event)
    # With autocommit off, on_commit() needs an atomic() block.
    is_by_hand = not connection.in_atomic_block and not connection.get_autocommit()
    with transaction.atomic(using=using) if is_heard or is_by_hand else contextlib.nullcontext():
        write(events, using)
        if is_heard:
            _tell(events, using, may_raise)
        transaction.on_commit(functools.partial(_wake_once, using, next(_numbers)), using=using, robust=True)


def write(events: Sequence[NewEvent], using: str) -> None:
    """Insert ``events``, all or none, in as few statements as the database accepts.

    When that fails, an open transaction is as it was before, if possible.
    """
    connection = connections[using]
    head, row, defaults = _statement(connection.vendor, Event._meta.db_table, now_sql(connection))
    as_uuid = Event._meta.get_field("occurrence").get_db_prep_value
    chunks = [events] if len(events) == 1 else list(_chunks(events))
    with transaction.atomic(using=using) if len(chunks) > 1 else contextlib.nullcontext():
        for chunk in chunks:
            params: list[Any] = []
            for event in chunk:
                occurrence = as_uuid(event.occurrence, connection, prepared=True)
                params += (event.trigger_id, occurrence, event.verb, event.payload, event.depth, *defaults)
            savepoints.execute(connection, head + ", ".join([row] * len(chunk)), params)


def _chunks(events: Sequence[NewEvent]) -> Iterator[Sequence[NewEvent]]:
    start = characters = 0
    for number, event in enumerate(events):
        if number > start and (number - start == MAX_ROWS or characters + len(event.payload) > MAX_CHARACTERS):
            yield events[start:number]
            start, characters = number, 0
        characters += len(event.payload)
    yield events[start:]


@functools.lru_cache(maxsize=16)
def _statement(vendor: str, table: str, now: str) -> tuple[str, str, tuple[Any, ...]]:
    """The head of the INSERT, the SQL of one row, and the parameters at its end, which are always the same."""
    connection: BaseDatabaseWrapper = next(item for item in connections.all() if item.vendor == vendor)
    quote, pattern = connection.ops.quote_name, Event()
    fields = {field.attname: field for field in Event._meta.concrete_fields if not field.primary_key}
    others = [name for name in fields if name not in (*_GIVEN, *_NOW)]
    columns, values, params = [], [], []
    for name in (*_GIVEN, *others, *_NOW):
        columns.append(quote(str(fields[name].column)))
        if name in _GIVEN:
            values.append("%s")
        elif name in _NOW:
            values.append(now)
        else:
            sql, given = literal(fields[name].get_db_prep_save(getattr(pattern, name), connection))
            values.append(sql)
            params += given
    head = f"INSERT INTO {quote(table)} ({', '.join(columns)}) VALUES "  # noqa: S608 - names only
    return head, f"({', '.join(values)})", tuple(params)


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
