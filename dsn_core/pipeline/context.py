"""How deep the current work stands in a chain of messages that caused one another."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

_depth: ContextVar[int] = ContextVar("dsn_depth", default=0)


def depth() -> int:
    """The depth that an event recorded now would have: 0 outside of any sending."""
    return _depth.get()


@contextlib.contextmanager
def working_on(event_depth: int) -> Iterator[None]:
    """Signals fired within are one deeper than ``event_depth``."""
    token = _depth.set(event_depth + 1)
    try:
        yield
    finally:
        _depth.reset(token)
