"""Helpers of encoding for single values: sizes, names, and the log of those that cannot be stored."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any, Final

from dsn_core.masking import exc_info
from dsn_core.plugins.errors import told

logger = logging.getLogger("dsn_core.intake")

#: Characters of ASCII JSON that one character of a text may take.
MAX_WIDTH: Final = 12

#: ASCII JSON text of plain data. Made once: ``json.dumps`` makes an encoder for each call.
as_json: Final[Callable[[Any], str]] = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode
#: What was logged: names of types, with the error's type.
_logged: Final[set[tuple[str, str]]] = set()


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


def log_once(value: object, error: BaseException) -> None:
    """Log that storing ``value`` raised ``error``, once for each type, since signals may be frequent."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if (what := (kind, type(error).__name__)) not in _logged:
        _logged.add(what)
        said = "A value of the type %s cannot be stored in an event: %s. This is logged once."
        logger.error(said, kind, told(error), exc_info=exc_info(error))
