"""Writes any number of events with one INSERT.

Raw SQL, because it runs in the code that fired the signal: Django's ``bulk_create`` takes longer for one row than
the database does.
"""

from __future__ import annotations

import contextlib
import functools
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from dsn_core import savepoints
from dsn_core.models import Event
from dsn_core.models.clock import now_sql
from dsn_core.models.sql import literal

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


def write(events: Sequence[NewEvent], using: str) -> None:
    """Insert ``events``, all or none, in as few statements as the database accepts.

    When that fails, an open transaction is as it was before, if possible.
    """
    connection = connections[using]
    chunks = list(_chunks(events))
    with transaction.atomic(using=using) if len(chunks) > 1 else contextlib.nullcontext():
        for chunk in chunks:
            _write(chunk, connection)


def _write(events: Sequence[NewEvent], connection: BaseDatabaseWrapper) -> None:
    head, row, defaults = _statement(connection.vendor, Event._meta.db_table, now_sql(connection))
    as_uuid = Event._meta.get_field("occurrence").get_db_prep_value
    params: list[Any] = []
    for event in events:
        occurrence = as_uuid(event.occurrence, connection, prepared=True)
        params += (event.trigger_id, occurrence, event.verb, event.payload, event.depth, *defaults)
    savepoints.execute(connection, head + ", ".join([row] * len(events)), params)


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
