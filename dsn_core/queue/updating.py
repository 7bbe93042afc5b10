"""Updating rows of one model at once, each with values of its own, by one statement that stays short.

Raw SQL: what Django's ``bulk_update`` makes of it, a CASE for each column with a branch for each row, is looked
through anew for every row, and its thousands of parameters cost more than the update.
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
    return f"COALESCE({_column(field, connection)} = %s, FALSE)", [field.get_db_prep_value(value, connection)]


def update(rows: Sequence[Model], names: Sequence[str], using: str, owned: Condition | None = None) -> int:
    """Store what ``rows`` say now of the fields ``names``, where ``owned`` still holds.

    Returns how many rows were stored.
    """
    connection = connections[using]
    model = type(rows[0])
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
        sets.append(f"{_column(field, connection)} = {sql}")
        params += given
    # By key in any case: it is by this that PostgreSQL finds the rows, whatever else they are compared with.
    source, condition = "", f"{_column(model._meta.pk, connection)} {among(rows, connection)}"
    if differing:
        form = _FORMS.get(connection.vendor, _cases)
        more, source, also, given = form(rows, differing, connection)
        sets += more
        params += given
        condition += also
    if owned is not None:
        condition += f" AND {owned[0]}"
        params += owned[1]
    table = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET {', '.join(sets)}{source} WHERE {condition}", params)  # noqa: S608 - values are parameters
        return int(cursor.rowcount)


def _column(field: Any, connection: BaseDatabaseWrapper) -> str:
    return str(connection.ops.quote_name(field.column))


#: The columns' assignments, what else to read from, how that is joined, and the parameters of these, in this order.
_Form = tuple[list[str], str, str, list[Any]]


def _unnested(rows: Sequence[Model], differing: dict[str, list[Any]], connection: BaseDatabaseWrapper) -> _Form:
    """With a table of values, which PostgreSQL makes of one array for each column."""
    fields: list[Any] = [rows[0]._meta.pk, *(rows[0]._meta.get_field(name) for name in differing)]
    arrays = ", ".join(f"%s::{field.rel_db_type(connection)}[]" for field in fields)
    columns = ", ".join(f"c{number}" for number in range(len(fields)))
    params = [_array(values) for values in ([int(row.pk) for row in rows], *differing.values())]
    return (
        _assigned(fields, connection),
        f" FROM UNNEST({arrays}) AS given({columns})",
        _is_given(fields, connection),
        params,
    )


def _array(values: Sequence[Any]) -> str:
    """``values`` as PostgreSQL writes an array. Its drivers look for the type of each one anew."""
    return f"{{{','.join(['NULL' if value is None else _quoted(str(value)) for value in values])}}}"


def _quoted(text: str) -> str:
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _joined(rows: Sequence[Model], differing: dict[str, list[Any]], connection: BaseDatabaseWrapper) -> _Form:
    """With a table of values, which SQLite reads from one JSON parameter."""
    fields: list[Any] = [rows[0]._meta.pk, *(rows[0]._meta.get_field(name) for name in differing)]
    numbers = [int(row.pk) for row in rows]
    given = json.dumps([list(values) for values in zip(numbers, *differing.values(), strict=True)], default=str)
    columns = ", ".join(f"json_extract(value, '$[{number}]') AS c{number}" for number in range(len(fields)))
    source = f" FROM (SELECT {columns} FROM json_each(%s)) AS given"  # noqa: S608 - numbers
    return _assigned(fields, connection), source, _is_given(fields, connection), [given]


def _assigned(fields: Sequence[Any], connection: BaseDatabaseWrapper) -> list[str]:
    return [f"{_column(field, connection)} = given.c{number}" for number, field in enumerate(fields) if number]


def _is_given(fields: Sequence[Any], connection: BaseDatabaseWrapper) -> str:
    return f" AND {_column(fields[0], connection)} = given.c0"


def _cases(rows: Sequence[Model], differing: dict[str, list[Any]], connection: BaseDatabaseWrapper) -> _Form:
    """With a CASE for each column: MariaDB and MySQL read tables from JSON in their later versions only."""
    assigned, params = [], []
    key = _column(rows[0]._meta.pk, connection)
    for name, values in differing.items():
        cases = []
        for row, value in zip(rows, values, strict=True):
            sql, given = literal(value)
            cases.append(f"WHEN {int(row.pk)} THEN {sql}")
            params += given
        assigned.append(f"{_column(rows[0]._meta.get_field(name), connection)} = CASE {key} {' '.join(cases)} END")
    return assigned, "", "", params


_FORMS: Final[dict[str, Callable[[Sequence[Model], dict[str, list[Any]], BaseDatabaseWrapper], _Form]]] = {
    "postgresql": _unnested,
    "sqlite": _joined,
}
