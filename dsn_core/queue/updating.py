"""Updating rows of one model at once, each with values of its own, by one statement that stays short.

Raw SQL: what Django's ``bulk_update`` makes of it, a CASE for each column with a branch for each row, is looked
through for every row, and its thousands of parameters cost more than the update.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from dsn_core.models.sql import among, literal

#: SQL that follows WHERE, and its parameters.
Condition = tuple[str, list[Any]]


def column_is(model: type[Model], name: str, value: Any, using: str) -> Condition:
    """That a row holds ``value``, said so that PostgreSQL does not think to find the few rows by it.

    It believes that hardly any row does, and reads the whole table for these few, once for each of those that are
    asked for by key.
    """
    connection = connections[using]
    field: Any = model._meta.get_field(name)
    return f"COALESCE({connection.ops.quote_name(field.column)} = %s, FALSE)", [
        field.get_db_prep_value(value, connection)
    ]


def update(rows: Sequence[Model], names: Sequence[str], using: str, owned: Condition | None = None) -> int:
    """Store what ``rows`` say now of the fields ``names``, where ``owned`` still holds.

    Returns how many rows were stored.
    """
    connection = connections[using]
    quote = connection.ops.quote_name
    model: Any = type(rows[0])
    key = quote(model._meta.pk.column)
    sets: list[str] = []
    params: list[Any] = []
    differing: dict[str, list[Any]] = {}
    for name in names:
        field: Any = model._meta.get_field(name)
        values = [getattr(row, name) for row in rows]
        if values.count(values[0]) < len(values):
            differing[name] = [field.get_db_prep_save(value, connection) for value in values]
            continue
        sql, given = literal(field.get_db_prep_save(values[0], connection))
        sets.append(f"{quote(field.column)} = {sql}")
        params += given
    # By key in any case: it is by this that PostgreSQL finds the rows, whatever else they are compared with.
    source, condition = "", f"{key} {among(rows, connection)}"
    if differing and (table_of := _TABLES.get(connection.vendor)) is not None:
        fields: list[Any] = [model._meta.pk, *(model._meta.get_field(name) for name in differing)]
        table, given = table_of(fields, [[int(row.pk) for row in rows], *differing.values()], connection)
        source = f" FROM {table}"
        sets += [f"{quote(field.column)} = given.c{number}" for number, field in enumerate(fields) if number]
        condition += f" AND {key} = given.c0"
        params += given
    elif differing:
        # A CASE for each column: MariaDB and MySQL read tables from JSON in their later versions only.
        for name, values in differing.items():
            cases = []
            for row, value in zip(rows, values, strict=True):
                sql, given = literal(value)
                cases.append(f"WHEN {int(row.pk)} THEN {sql}")
                params += given
            column = quote(model._meta.get_field(name).column)
            sets.append(f"{column} = CASE {key} {' '.join(cases)} END")
    if owned is not None:
        condition += f" AND {owned[0]}"
        params += owned[1]
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {quote(model._meta.db_table)} SET {', '.join(sets)}{source} WHERE {condition}", params)  # noqa: S608 - values are parameters
        return int(cursor.rowcount)


def _from_arrays(
    fields: Sequence[Any], columns: Sequence[Sequence[Any]], connection: BaseDatabaseWrapper
) -> tuple[str, list[Any]]:
    """A table of values, which PostgreSQL makes of one array for each column."""
    arrays = ", ".join(f"%s::{field.rel_db_type(connection)}[]" for field in fields)
    names = ", ".join(f"c{number}" for number in range(len(fields)))
    return f"UNNEST({arrays}) AS given({names})", [_array(values) for values in columns]


def _array(values: Sequence[Any]) -> str:
    """``values`` as PostgreSQL writes an array. Its drivers look for the type of each value."""
    return f"{{{','.join(['NULL' if value is None else _quoted(str(value)) for value in values])}}}"


def _quoted(text: str) -> str:
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _from_json(
    fields: Sequence[Any], columns: Sequence[Sequence[Any]], connection: BaseDatabaseWrapper
) -> tuple[str, list[Any]]:
    """A table of values, which SQLite reads from one JSON parameter."""
    names = ", ".join(f"json_extract(value, '$[{number}]') AS c{number}" for number in range(len(fields)))
    rows = json.dumps([list(values) for values in zip(*columns, strict=True)], default=str)
    return f"(SELECT {names} FROM json_each(%s)) AS given", [rows]  # noqa: S608 - numbers


#: A table ``given`` with the columns c0, c1, ... of the values of fields, and its parameters, by the database's vendor.
_TABLES: Final[dict[str, Callable[..., tuple[str, list[Any]]]]] = {"postgresql": _from_arrays, "sqlite": _from_json}
