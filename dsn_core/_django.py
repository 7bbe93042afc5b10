"""Internals of Django and Python that dsn-core leans on, each with its reason.

``tests/test_django_internals.py`` fails when one of them changes.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Final

from django.core.serializers.base import DeserializedObject
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from django.db.transaction import TransactionManagementError

_numbers = itertools.count()


class LateAtomic(transaction.Atomic):
    """A block of ``atomic()`` inside a transaction whose savepoint is set when the first query comes.

    Reason: a savepoint costs two statements in the code that fired a signal, and most blocks ask the database nothing.
    Leans on: the connection's ``savepoint_ids``, ``atomic_blocks``, ``execute_wrappers``, ``closed_in_transaction``.

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
                # The code that asked for a rollback had done nothing yet.
                connection.needs_rollback = False
        if kind is None and connection.needs_rollback:
            # atomic() would say nothing here, nor where it ends the transaction.
            raise TransactionManagementError("The transaction is lost, and the error that said so was swallowed.")


def callbacks_on_commit(connection: BaseDatabaseWrapper) -> list[Any]:
    """The functions that the open transaction of ``connection`` will call on commit.

    Reason: Django tells of no rollback; what is gone from this list was rolled back.
    Leans on: ``run_on_commit``, a list of tuples whose second item is the function.
    """
    return [entry[1] for entry in connection.run_on_commit]


#: Calls that may lie between a fixture's relation being set and the receiver of ``m2m_changed``; there are eight.
_NEAR: Final = 16


def is_being_deserialized(instance: Model) -> bool:
    """Whether this is called because ``instance`` is being loaded from a fixture.

    Reason: before Django 6.1 ``m2m_changed`` has no ``raw``. Leans on: ``DeserializedObject.save`` and its ``self``.
    """
    frame: FrameType | None = sys._getframe()
    for _ in range(_NEAR):
        if frame is None:
            return False
        if frame.f_code is DeserializedObject.save.__code__:
            return frame.f_locals["self"].object is instance
        frame = frame.f_back
    return False


def is_historical(sender: Any) -> bool:
    """Whether ``sender`` is a model of a migration's state. Leans on the name of their module, ``__fake__``."""
    return isinstance(sender, type) and sender.__module__ == "__fake__"
