"""Helpers for SQL statements that are written by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F, Lookup


def literal(value: Any) -> tuple[str, list[Any]]:
    """The SQL of one prepared value, and its parameters.

    NULL is written out: a NULL parameter has no type, and PostgreSQL treats it as text.
    """
    return ("NULL", []) if value is None else ("%s", [value])


def among(rows: Iterable[Any], connection: BaseDatabaseWrapper) -> str:
    """SQL after which a column holds the primary key of one of ``rows``, which are our own."""
    return among_keys([row.pk for row in rows], connection)


def among_keys(keys: Iterable[int], connection: BaseDatabaseWrapper) -> str:
    """SQL after which a column holds one of ``keys``.

    Whole numbers, written out: a parameter for each would cost more. PostgreSQL parses an array of them at once, where
    a list is an expression for each.
    """
    text = ", ".join([str(int(key)) for key in keys])
    if connection.vendor == "postgresql":
        return f"= ANY ('{{{text}}}'::bigint[])"
    return f"IN ({text})"


class OneOf(Lookup):
    """Whether the column ``name`` holds one of ``keys``, for ``filter()``. Like ``IN`` with many keys of ours.

    Whole numbers, written out as in :func:`among_keys`: for a thousand parameters Django and the driver need more time
    than the database needs for the statement.
    """

    prepare_rhs = False

    def __init__(self, name: str, keys: Iterable[int]) -> None:
        super().__init__(F(name), list(keys))

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        if not self.rhs:
            raise EmptyResultSet
        column, params = self.process_lhs(compiler, connection)
        return f"{column} {among_keys(self.rhs, connection)}", params


def storable(text: Any, limit: int) -> str:
    """``text`` as every database accepts it: without NUL and lone surrogates, at most ``limit`` characters.

    Errors, ids of providers and addresses come from outside: none of them may make the statement fail that stores the
    results of a whole batch.
    """
    clean = str(text)[:limit].replace("\0", "")
    if clean.isascii():
        return clean
    return clean.encode("utf-8", "replace").decode("utf-8")


def upsert(
    rows: models.QuerySet[Any], made: Sequence[models.Model], *, key: Sequence[str], changed: Sequence[str]
) -> None:
    """Insert ``made``; where their ``key`` is there already, set the fields ``changed`` of that row."""
    # MySQL and MariaDB are not told which key it is.
    has_target = connections[rows.db].features.supports_update_conflicts_with_target
    rows.bulk_create(
        made, update_conflicts=True, unique_fields=list(key) if has_target else None, update_fields=list(changed)
    )
