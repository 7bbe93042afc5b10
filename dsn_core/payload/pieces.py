"""Helpers of encoding for single values: sizes, names, wrapped objects."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from django.db.models import Model
from django.utils.functional import empty

from dsn_core.payload import snapshots

#: Characters of ASCII JSON that one character of a text may take.
MAX_WIDTH: Final = 12

#: ASCII JSON text of plain data. Made once: ``json.dumps`` makes an encoder for each call.
as_json: Final[Callable[[Any], str]] = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


def size_of(value: Any) -> int:
    """The approximate number of characters of a value, without its items."""
    kind = type(value)
    return len(value) if kind is str else 1 + value.bit_length() // 4 if kind is int else 1


def length_of(value: Any, share: int = 0) -> int:
    """The approximate encoded length of a text or bytes; 0 for other values, which are limited during encoding.

    It is computed exactly only where the result matters for ``share``.
    """
    if isinstance(value, str):
        return len(as_json(str.__str__(value))) if share // MAX_WIDTH < len(value) <= share else len(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return memoryview(value).nbytes * 4 // 3
    return 0


def is_pair(value: object) -> bool:
    return type(value) in (tuple, list) and len(value) == 2 and type(value[0]) in (str, bytes)  # type: ignore[arg-type, index]


def as_text(key: Any) -> str:
    return key.decode("latin-1") if isinstance(key, bytes) else key


def class_data(value: type) -> Any:
    if issubclass(value, Model) and value is not Model and snapshots.is_known(value._meta.label_lower):
        return {"$": "model", "v": value._meta.label_lower}
    # Its name as text, since decoding a payload imports nothing.
    return f"{value.__module__}.{value.__qualname__}"


def unwrapped(value: Any) -> Any:
    if value._wrapped is empty:
        value._setup()
    return value._wrapped
