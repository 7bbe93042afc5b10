"""Savepoints for our queries in the code that fired a signal: when one fails, every open transaction stays as it was.

A savepoint costs two more statements. So it is set only when a query comes, and not at all for a statement that the
database undoes by itself when it fails.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final

from django.db import Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.transaction import TransactionManagementError

from dsn_core._django import is_interrupt
from dsn_core.database_errors import is_conflict, may_have_rolled_back

_numbers = itertools.count()


class LateAtomic(transaction.Atomic):
    """An ``atomic()`` block inside a transaction that sets its savepoint at the first query.

    Leans on: the connection's ``savepoint_ids``, ``atomic_blocks``, ``execute_wrappers``, ``closed_in_transaction``.

    The savepoint has its name from the beginning: by the name, Django finds the on-commit functions that a rollback
    removes.
    """

    def __enter__(self) -> None:
        connection = self._connection = transaction.get_connection(self.using)
        self._name, self._is_set = f"dsn_{next(_numbers)}", False
        connection.savepoint_ids.append(self._name)
        connection.atomic_blocks.append(self)
        connection.execute_wrappers.append(self._before)

    def _before(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if not self._is_set:
            connection, held = self._connection, self._connection.execute_wrappers
            # Without the wrappers of inner blocks, which would set their savepoints before this one.
            connection.execute_wrappers = held[: held.index(self._before)]
            try:
                with connection.cursor() as cursor:
                    cursor.execute(connection.ops.savepoint_create_sql(self._name))
            finally:
                connection.execute_wrappers = held
            self._is_set = True
        return execute(sql, params, many, context)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        connection = self._connection
        connection.execute_wrappers.remove(self._before)
        if self._is_set:
            super().__exit__(kind, error, traceback)
        else:
            connection.savepoint_ids.pop()
            connection.atomic_blocks.pop()
            if not connection.closed_in_transaction:
                # No query ran in this block, so there is nothing to roll back.
                connection.needs_rollback = False
        if kind is None and connection.needs_rollback:
            # atomic() would raise nothing here, nor at the end of the transaction.
            raise TransactionManagementError("The transaction is lost, and the error that said so was swallowed.")


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Within this block queries may fail, and every transaction that is open in this thread stays as it was.

    Covers all open connections, since it is not known beforehand which of them will be queried. As with ``atomic()``,
    an exception, or a database error that was swallowed, undoes the block. A transaction that cannot be saved is
    marked for rollback, and an error is raised.
    """
    with contextlib.ExitStack() as blocks:
        for connection in connections.all(initialized_only=True):
            if connection.in_atomic_block:
                # A transaction marked for rollback accepts no query.
                if not connection.needs_rollback:
                    blocks.enter_context(LateAtomic(connection.alias, savepoint=True, durable=False))
            elif connection.connection is not None and not connection.autocommit:
                blocks.enter_context(transaction.atomic(using=connection.alias))
        yield


_matching: ContextVar[bool] = ContextVar("dsn_matching_query", default=False)

#: Whether this block reads the database for matching. Instances that it loads fire no trigger.
is_matching_query: Callable[[], bool] = _matching.get


@contextlib.contextmanager
def matching_query() -> Iterator[None]:
    """Within this block a query of the matching may fail, and the caller's transaction stays as it was.

    Costs a savepoint where a query comes and a transaction is open: without it, an error aborts the whole transaction
    on PostgreSQL.
    """
    token = _matching.set(True)
    try:
        with guarded():
            yield
    finally:
        _matching.reset(token)


def is_callers(error: BaseException, *, met_savepoint: bool = False) -> bool:
    """Whether ``error`` must be raised to the code that fired the signal, since a transaction may be open there.

    So when it cost a transaction on any database, when the transaction must be run again, or when it is meant for the
    process or the request (Ctrl-C, a server's time-out). ``met_savepoint``: what failed had a savepoint of ours, whose
    end showed whether the transaction still exists.
    """
    if any_is_lost() or is_interrupt(error):
        return True
    open_ones = [item for item in connections.all(initialized_only=True) if is_in_transaction(item)]
    return (bool(open_ones) and is_conflict(error)) or (
        not met_savepoint and may_have_rolled_back(error) and any(item.vendor == "mysql" for item in open_ones)
    )


def is_in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Whether a transaction may be open: in an ``atomic()`` block, or with autocommit off."""
    return connection.in_atomic_block or (connection.connection is not None and not connection.autocommit)


def any_is_lost() -> bool:
    """Whether a transaction of this thread can no longer be committed, on any database: swallowing would lose its data.

    A query on another database, made while an event was prepared, may have cost the transaction there.
    """
    return any(
        connection.needs_rollback
        or connection.connection is None
        or not connection.is_usable()
        # After some errors, such as a full disk, SQLite rolls back by itself.
        or (connection.vendor == "sqlite" and connection.in_atomic_block and not connection.connection.in_transaction)
        for connection in connections.all(initialized_only=True)
        if is_in_transaction(connection)
    )


def execute(connection: BaseDatabaseWrapper, sql: str, params: Sequence[Any]) -> None:
    """Execute one statement. When it fails, an open transaction is as it was before, if possible."""
    is_alone = not connection.in_atomic_block and connection.get_autocommit()
    with connection.cursor() as cursor:
        if is_alone or connection.vendor == "sqlite":
            # SQLite undoes a failing statement, and the transaction goes on.
            cursor.execute(sql, params)
        elif connection.vendor == "postgresql" and hasattr(cursor, "mogrify"):
            _execute_at_once(connection, cursor, sql, params)
        else:
            # So do MySQL and MariaDB, or they roll back the whole transaction: the missing savepoint shows it.
            with transaction.atomic(using=connection.alias):
                cursor.execute(sql, params)


#: The savepoint of :func:`_execute_at_once`.
_NAME: Final = "dsn_statement"
#: libpq's number for a transaction in which a statement has failed.
_IN_ERROR: Final = 3


def _execute_at_once(connection: BaseDatabaseWrapper, cursor: CursorWrapper, sql: str, params: Sequence[Any]) -> None:
    """The statement in its savepoint in one round trip, for a cursor that inserts the parameters on the client."""
    set_, release = connection.ops.savepoint_create_sql(_NAME), connection.ops.savepoint_commit_sql(_NAME)
    try:
        cursor.execute(f"{set_}; {sql}; {release}", params)
    except BaseException:
        # Not when the statement never reached the server: the savepoint does not exist then.
        if connection.connection.info.transaction_status == _IN_ERROR:
            try:
                connection.savepoint_rollback(_NAME)
                connection.savepoint_commit(_NAME)
            except Error:
                connection.needs_rollback = True
        raise


def can_limit(connection: BaseDatabaseWrapper) -> bool:
    """Whether :func:`limited` works there. MySQL limits only the wait for a lock, in whole seconds."""
    return connection.vendor in ("postgresql", "sqlite") or getattr(connection, "mysql_is_mariadb", False)


@contextlib.contextmanager
def limited(connection: BaseDatabaseWrapper, seconds: float) -> Iterator[None]:
    """No statement in this block takes longer than ``seconds``, where the database can limit it.

    For use outside of a transaction. On PostgreSQL the block is one.
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
        # A lost connection needs no reset.
        with contextlib.suppress(Error), connection.cursor() as cursor:
            cursor.execute(end)
