"""Asking the database while a signal is matched, without harm to whoever fired it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

from dsn_core.pipeline.savepoints import guarded

_asking: ContextVar[bool] = ContextVar("dsn_asking", default=False)

#: Whether matching reads something here and now. What it loads for that is no news to anybody.
is_asking: Callable[[], bool] = _asking.get


@contextlib.contextmanager
def asking() -> Iterator[None]:
    """Within this block a query may fail, and the transaction of whoever fired the signal is as it was.

    Costs a savepoint where a query comes and a transaction is open: without one, PostgreSQL gives up the whole
    transaction.
    """
    token = _asking.set(True)
    try:
        with guarded():
            yield
    finally:
        _asking.reset(token)
