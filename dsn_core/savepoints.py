"""Queries in the code that fired a signal: they may fail, and every open transaction is as it was.

A savepoint is two statements beside the one that matters. So none is set before the database is really asked, and none
for a statement that takes itself back when it fails.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, Final

from django.db import DatabaseError, Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from dsn_core._django import LateAtomic


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Within this block queries may fail, and every transaction that is open in this thread is as it was.

    Which database will be asked, if any, nobody says beforehand. As with ``atomic()``, an exception, or an error of
    the database that somebody swallowed, takes back what was done. A transaction that cannot be saved is marked to be
    rolled back, and an error says so.
    """
    with contextlib.ExitStack() as blocks:
        for connection in connections.all(initialized_only=True):
            if connection.in_atomic_block:
                # One that is to be rolled back takes no query any more.
                if not connection.needs_rollback:
                    blocks.enter_context(LateAtomic(connection))
            elif connection.connection is not None and not connection.autocommit:
                blocks.enter_context(transaction.atomic(using=connection.alias))
        yield


_matching: ContextVar[bool] = ContextVar("dsn_matching_query", default=False)

#: Whether matching reads something here and now. What it loads for that fires no trigger.
is_matching_query: Callable[[], bool] = _matching.get


@contextlib.contextmanager
def matching_query() -> Iterator[None]:
    """Within this block a query of the matching may fail, and the transaction of the caller is as it was.

    Costs a savepoint where a query comes and a transaction is open: without one, PostgreSQL gives up the whole
    transaction.
    """
    token = _matching.set(True)
    try:
        with guarded():
            yield
    finally:
        _matching.reset(token)


#: After these errors MySQL and MariaDB may have rolled back the whole transaction, and say nothing of it later:
#: a lock waited for in vain, a deadlock, a row that has changed since it was read.
_ROLLED_BACK: Final = frozenset({1205, 1213, 1020})


def has_lost_a_transaction(error: BaseException) -> bool:
    """Whether ``error``, which no savepoint of ours has met, cost this thread a transaction on whichever database."""
    return any_is_lost() or (
        _is_rolled_back_by_server(error)
        and any(item.vendor == "mysql" and item.in_atomic_block for item in connections.all(initialized_only=True))
    )


def _is_rolled_back_by_server(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, DatabaseError) and error.args and error.args[0] in _ROLLED_BACK:
            return True
        error = error.__cause__ or error.__context__
    return False


def any_is_lost() -> bool:
    """Whether a transaction of this thread is beyond saving, on whichever database."""
    # What was asked of another database while an event was prepared may have cost the transaction there.
    return any(_is_lost(connection) for connection in connections.all(initialized_only=True))


def _is_lost(connection: BaseDatabaseWrapper) -> bool:
    """Whether the caller's transaction is beyond saving, so that going on quietly would lose its data."""
    if not connection.in_atomic_block and (connection.autocommit or connection.connection is None):
        return False
    if connection.needs_rollback or connection.connection is None or not connection.is_usable():
        return True
    # After an error that leaves it no choice, a disk that is full, SQLite rolls back by itself.
    return connection.vendor == "sqlite" and connection.in_atomic_block and not connection.connection.in_transaction


def execute(connection: BaseDatabaseWrapper, sql: str, params: Sequence[Any]) -> None:
    """Execute one statement. When it fails, an open transaction is as it was before, if it can be saved."""
    is_alone = not connection.in_atomic_block and connection.get_autocommit()
    with connection.cursor() as cursor:
        if is_alone or connection.vendor == "sqlite":
            # SQLite takes back what a failing statement did, and lets the transaction go on.
            cursor.execute(sql, params)
        elif connection.vendor == "postgresql" and hasattr(cursor, "mogrify"):
            _execute_at_once(connection, cursor, sql, params)
        else:
            # So do MySQL and MariaDB, or they take back the whole transaction: the savepoint that is gone tells.
            with transaction.atomic(using=connection.alias):
                cursor.execute(sql, params)


#: The savepoint of :func:`_execute_at_once`, which never outlives it.
_NAME: Final = "dsn_statement"
#: The state of a transaction in which a statement has failed, by libpq's numbers.
_IN_ERROR: Final = 3


def _execute_at_once(connection: BaseDatabaseWrapper, cursor: CursorWrapper, sql: str, params: Sequence[Any]) -> None:
    """The statement in its savepoint by one round trip, for a cursor that puts the parameters in by itself."""
    set_, release = connection.ops.savepoint_create_sql(_NAME), connection.ops.savepoint_commit_sql(_NAME)
    try:
        cursor.execute(f"{set_}; {sql}; {release}", params)
    except BaseException:
        # Not where the server saw nothing of it: without the savepoint, going back to it would be the first error.
        if connection.connection.info.transaction_status == _IN_ERROR:
            try:
                connection.savepoint_rollback(_NAME)
                connection.savepoint_commit(_NAME)
            except Error:
                connection.needs_rollback = True
        raise
