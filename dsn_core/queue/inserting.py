"""Inserting deliveries, where the same one again adds nothing.

Raw SQL: Django's ``ignore_conflicts`` is ``INSERT IGNORE`` on MySQL and MariaDB, which also hides
errors and stores NULL as 0, and it has no ``INSERT ... SELECT``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F, QuerySet

from dsn_core.models import Delivery
from dsn_core.models.sql import literal


def insert(deliveries: Sequence[Delivery], using: str) -> None:
    """Insert those of ``deliveries`` that are not there yet."""
    connection = connections[using]
    fields = _fields()
    size = max(connection.ops.bulk_batch_size(fields, list(deliveries)), 1)
    for start in range(0, len(deliveries), size):
        rows, params = [], []
        for delivery in deliveries[start : start + size]:
            values = [literal(field.get_db_prep_save(getattr(delivery, field.attname), connection)) for field in fields]
            rows.append(f"({', '.join(sql for sql, _ in values)})")
            params += [param for _, given in values for param in given]
        _execute(connection, f"VALUES {', '.join(rows)}", params)


def insert_for_users(pattern: Delivery, users: QuerySet[Any], using: str) -> None:
    """Insert a delivery like ``pattern`` for each of ``users`` that has none yet, by the database alone."""
    connection = connections[using]
    chosen = users.order_by().annotate(dsn_receiver=F("pk")).values("dsn_receiver")
    try:
        selected, selected_params = chosen.query.get_compiler(using).as_sql()
    except EmptyResultSet:
        return
    columns, params = [], []
    for field in _fields():
        if field.attname == "user_id":
            columns.append("receivers.dsn_receiver")
            continue
        sql, given = literal(field.get_db_prep_save(getattr(pattern, field.attname), connection))
        columns.append(sql)
        params += given
    # The WHERE tells SQLite that what follows is no join condition. In the order of the keys, so that two
    # workers that insert the same receivers wait for each other instead of dying in a deadlock.
    source = f"SELECT {', '.join(columns)} FROM ({selected}) receivers WHERE 1 = 1 ORDER BY dsn_receiver"  # noqa: S608 - names and our own SQL; values are parameters
    _execute(connection, source, [*params, *selected_params])


def _fields() -> list[Any]:
    return [field for field in Delivery._meta.concrete_fields if not field.primary_key]


def _execute(connection: BaseDatabaseWrapper, source: str, params: Sequence[Any]) -> None:
    quote = connection.ops.quote_name
    columns = ", ".join(quote(field.column) for field in _fields())
    table = quote(Delivery._meta.db_table)
    key = f"{table}.{quote('id')}"
    ignoring = f"ON DUPLICATE KEY UPDATE {key} = {key}" if connection.vendor == "mysql" else "ON CONFLICT DO NOTHING"
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} ({columns}) {source} {ignoring}", params)
