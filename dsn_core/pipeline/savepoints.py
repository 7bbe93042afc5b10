"""Harming no open transaction, at the least price.

A savepoint is two statements beside the one that matters, and it stands in the code of whoever fired a signal. So none
is set before somebody really asks the database, and none for a statement that takes itself back when it fails.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Final

from django.db import Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.transaction import TransactionManagementError


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
                    blocks.enter_context(_Late(connection))
            elif connection.connection is not None and not connection.autocommit:
                blocks.enter_context(transaction.atomic(using=connection.alias))
        yield


_numbers = itertools.count()


class _Late(transaction.Atomic):
    """A block of ``atomic()`` inside a transaction whose savepoint is set when the first query comes.

    The savepoint has its name from the beginning: by it, Django knows what a rollback takes off the list of what is
    to be done on commit.
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        super().__init__(connection.alias, savepoint=True, durable=False)
        self._connection = connection
        self._name = f"dsn_{next(_numbers)}"
        self._is_set = False

    def __enter__(self) -> None:
        connection = self._connection
        connection.savepoint_ids.append(self._name)
        connection.atomic_blocks.append(self)
        connection.execute_wrappers.append(self._before)

    def _before(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if not self._is_set:
            connection, held = self._connection, self._connection.execute_wrappers
            # Not by way of the blocks within this one, which would set their savepoints before it.
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
                # Whoever asked for a rollback had done nothing yet.
                connection.needs_rollback = False
        if kind is None and connection.needs_rollback:
            # atomic() would say nothing here, nor where it ends the transaction.
            raise TransactionManagementError("The transaction is lost, and the error that said so was swallowed.")


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
