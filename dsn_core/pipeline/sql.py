"""What the statements written by hand have in common."""

from __future__ import annotations

from typing import Any


def literal(value: Any) -> tuple[str, list[Any]]:
    """The SQL of one prepared value, and its parameters.

    NULL is spelled out: a parameter that is NULL has no type, and PostgreSQL takes it for text.
    """
    return ("NULL", []) if value is None else ("%s", [value])
