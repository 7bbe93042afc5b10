"""Queries in the code that fired a signal: they may fail, and every open transaction is as it was.

A savepoint is two statements beside the one that matters. So none is set before the database is really asked, and none
for a statement that takes itself back when it fails.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, Final

from django.db import Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from dsn_core._django import LateAtomic, is_interrupt
from dsn_core.database_errors import is_conflict, may_have_rolled_back


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


def is_callers(error: BaseException, *, met_savepoint: bool = False) -> bool:
    """Whether the code that fired the signal must hear of ``error``, which came where a transaction may be open.

    It cost the transaction, on whichever database, it is one for which the transaction must be run again, or it is
    meant for the process or the request (Ctrl-C, a server's time-out).
    ``met_savepoint``: what failed had a savepoint of ours, whose end told whether there still is a transaction.
    """
    if any_is_lost() or is_interrupt(error):
        return True
    open_ones = [item for item in connections.all(initialized_only=True) if is_in_transaction(item)]
    return (bool(open_ones) and is_conflict(error)) or (
        not met_savepoint and may_have_rolled_back(error) and any(item.vendor == "mysql" for item in open_ones)
    )


def is_in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Whether a transaction may be open: in a block of ``atomic()``, or where the project manages them itself."""
    return connection.in_atomic_block or (connection.connection is not None and not connection.autocommit)


def any_is_lost() -> bool:
    """Whether a transaction of this thread is beyond saving, on whichever database."""
    # What was asked of another database while an event was prepared may have cost the transaction there.
    return any(_is_lost(connection) for connection in connections.all(initialized_only=True))


def _is_lost(connection: BaseDatabaseWrapper) -> bool:
    """Whether the caller's transaction is beyond saving, so that going on quietly would lose its data."""
    if not is_in_transaction(connection):
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


def can_limit(connection: BaseDatabaseWrapper) -> bool:
    """Whether :func:`limited` works there. MySQL bounds only the waiting for a lock, in whole seconds."""
    return connection.vendor in ("postgresql", "sqlite") or getattr(connection, "mysql_is_mariadb", False)


@contextlib.contextmanager
def limited(connection: BaseDatabaseWrapper, seconds: float) -> Iterator[None]:
    """Outside of a transaction: no statement within takes longer than ``seconds``, where that can be had.

    On PostgreSQL the block is a transaction.
    """
    milliseconds = max(1, int(seconds * 1000))
    if connection.vendor == "postgresql":
        with transaction.atomic(using=connection.alias):
            with connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL statement_timeout = {milliseconds}")
            yield
    elif connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout")
            (before,) = cursor.fetchone()
        with _between(connection, f"PRAGMA busy_timeout = {milliseconds}", f"PRAGMA busy_timeout = {int(before)}"):
            yield
    elif can_limit(connection):
        begin = f"SET @dsn_limit = @@SESSION.max_statement_time, SESSION max_statement_time = {milliseconds / 1000}"
        with _between(connection, begin, "SET SESSION max_statement_time = @dsn_limit"):
            yield
    else:
        yield


@contextlib.contextmanager
def _between(connection: BaseDatabaseWrapper, begin: str, end: str) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(begin)
    try:
        yield
    finally:
        # A connection that is gone has taken its settings along.
        with contextlib.suppress(Error), connection.cursor() as cursor:
            cursor.execute(end)
