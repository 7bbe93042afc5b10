"""What the statements written by hand have in common."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F, Lookup


def literal(value: Any) -> tuple[str, list[Any]]:
    """The SQL of one prepared value, and its parameters.

    NULL is spelled out: a parameter that is NULL has no type, and PostgreSQL takes it for text.
    """
    return ("NULL", []) if value is None else ("%s", [value])


def among(rows: Iterable[Any], connection: BaseDatabaseWrapper) -> str:
    """SQL after which a column holds the primary key of one of ``rows``, which are our own.

    Whole numbers, written out: a parameter for each would cost more. PostgreSQL reads an array of them at once,
    where a list is an expression for each.
    """
    return _written_out([int(row.pk) for row in rows], connection)


def _written_out(keys: Iterable[int], connection: BaseDatabaseWrapper) -> str:
    text = ", ".join(map(str, keys))
    if connection.vendor == "postgresql":
        return f"= ANY ('{{{text}}}'::bigint[])"
    return f"IN ({text})"


class OneOf(Lookup):
    """Whether the column ``name`` holds one of ``keys``, for ``filter()``. Like ``IN`` with many keys of ours.

    Whole numbers, written out, as in :func:`among`: of a thousand parameters Django and the driver make more work than
    the database has with the statement.
    """

    prepare_rhs = False

    def __init__(self, name: str, keys: Iterable[int]) -> None:
        super().__init__(F(name), [int(key) for key in keys])

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        if not self.rhs:
            raise EmptyResultSet
        column, params = self.process_lhs(compiler, connection)
        return f"{column} {_written_out(self.rhs, connection)}", params


def storable(text: Any, limit: int) -> str:
    """``text`` as every database takes it: without NUL and lone surrogates, at most ``limit`` characters.

    Errors, provider's ids and addresses come from outside; one of them must not make the statement
    fail that writes down what became of a whole batch.
    """
    clean = str(text)[:limit].replace("\0", "")
    if clean.isascii():
        return clean
    return clean.encode("utf-8", "replace").decode("utf-8")
