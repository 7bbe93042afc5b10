"""What encoding asks of single values: how large they are, what they are called, what is in them."""

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
    """About how many characters a value takes by itself, without what it holds."""
    kind = type(value)
    return len(value) if kind is str else 1 + value.bit_length() // 4 if kind is int else 1


def length_of(value: Any, share: int = 0) -> int:
    """About how many characters a text or bytes take; 0 for other values, which are bounded while they are encoded.

    A character may take more than one; they are counted only where it matters to ``share``.
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
    # What it is called, as text: reading a payload imports nothing.
    return f"{value.__module__}.{value.__qualname__}"


def unwrapped(value: Any) -> Any:
    if value._wrapped is empty:
        value._setup()
    return value._wrapped
