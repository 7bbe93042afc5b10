"""Asking the database while a signal is matched, without harm to whoever fired it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

from django.db import connections, transaction

_asking: ContextVar[bool] = ContextVar("dsn_asking", default=False)

#: Whether matching reads something here and now. What it loads for that is no news to anybody.
is_asking: Callable[[], bool] = _asking.get


@contextlib.contextmanager
def asking() -> Iterator[None]:
    """Within this block a query may fail, and the transaction of whoever fired the signal is as it was.

    Costs a savepoint where a transaction is open: without one, PostgreSQL gives up the whole transaction.
    Which database will be asked, a path over relations and properties does not say beforehand.
    """
    token = _asking.set(True)
    try:
        with contextlib.ExitStack() as savepoints:
            for connection in connections.all(initialized_only=True):
                if connection.in_atomic_block:
                    savepoints.enter_context(transaction.atomic(using=connection.alias))
            yield
    finally:
        _asking.reset(token)
