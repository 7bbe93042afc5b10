"""Internals of Django and Python that dsn-core leans on, each with its reason.

``tests/test_django_internals.py`` fails when one of them changes.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import signal
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FrameType, TracebackType
from typing import Any, Final

from asgiref.sync import SyncToAsync, ThreadSensitiveContext
from django.apps import apps
from django.core.serializers.base import DeserializedObject
from django.db import Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from django.db.transaction import TransactionManagementError
from django.utils import timezone
from django.utils.translation import get_language, trans_real

#: There is no public parser of regular expressions: :mod:`dsn_core.conditions.patterns` bounds the worst case of a
#: pattern by its tree, and refuses what it does not know in there.
regex_codes: Any = re._constants  # type: ignore[attr-defined]
regex_parser: Any = re._parser  # type: ignore[attr-defined]

_numbers = itertools.count()
#: The packages whose exceptions switch or end a green thread.
_GREEN_THREADS: Final = frozenset({"eventlet", "gevent", "greenlet"})


def _language() -> Any:
    """Where Django keeps the language that this thread, or task, activated. It is another object after a reload."""
    return trans_real._active  # type: ignore[attr-defined]


def _time_zone() -> Any:
    """The same of the time zone."""
    return timezone._active  # type: ignore[attr-defined]


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


def after_commit_first(connection: BaseDatabaseWrapper, mark: Callable[[], None], finish: Callable[[], None]) -> None:
    """After the commit of the open transaction, have ``mark`` called, then ``finish``, before what others wait for.

    A rollback of the savepoint that is open now takes ``mark`` along. ``finish`` is called once for all marks, whatever
    savepoints were rolled back. Both are methods, and raise nothing.
    Reason: one that was registered earlier, is not robust and raises keeps Django from calling those after it; and the
    first that is called cannot know which of the others are still to come.
    Leans on: ``run_on_commit``, tuples of savepoint ids, function and whether it is robust, called in their order; a
    rollback to a savepoint drops those that have its id, and none other.
    """
    entries: list[Any] = connection.run_on_commit
    place = next((number for number, entry in enumerate(entries) if entry[1] == finish), None)
    if place is None:
        place = 0
        entries.insert(0, (set(), finish, True))
    entries.insert(place, (open_savepoints(connection), mark, True))


def is_to_come(connection: BaseDatabaseWrapper, finish: Callable[[], None]) -> bool:
    """Whether the open transaction will call ``finish`` (see :func:`after_commit_first`), should it be committed."""
    return any(entry[1] == finish for entry in connection.run_on_commit)


def open_savepoints(connection: BaseDatabaseWrapper) -> set[str]:
    """The ids of the savepoints in which a statement stands now. Those of one transaction never come again."""
    return set(connection.savepoint_ids)


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


def asgi_request() -> ThreadSensitiveContext | None:
    """The object that stands for the ASGI request at hand; None outside of one.

    Reason: Django may send ``request_started`` in a task whose context variables the view does not see; both see this.
    Leans on: the context variable ``thread_sensitive_context`` of asgiref's ``SyncToAsync``.
    """
    return SyncToAsync.thread_sensitive_context.get(None)


def is_historical(sender: Any) -> bool:
    """Whether ``sender`` is a model of a migration's state, or the one of applied migrations.

    Reason: they are no news to the project. Leans on the name of their modules.
    """
    return isinstance(sender, type) and sender.__module__ in ("__fake__", "django.db.migrations.recorder")


def is_interrupt(error: BaseException) -> bool:
    """Whether ``error`` is meant for the process, the request or the green thread, not for the code that it came from.

    So it must go on: Ctrl-C; what a signal handler raised (gunicorn's time-out, Celery's soft time limit); what gevent
    and eventlet throw into a green thread (``gevent.Timeout``, ``GreenletExit``).
    """
    if isinstance(error, KeyboardInterrupt):
        return True
    if not isinstance(error, Exception) and _is_of_green_threads(error):
        return True
    return raised_by_signal_handler(error)


def _is_of_green_threads(error: BaseException) -> bool:
    # By the names of their modules: importing gevent to ask would do harm where it is not used.
    return any(cls.__module__.partition(".")[0] in _GREEN_THREADS for cls in type(error).__mro__)


def raised_by_signal_handler(error: BaseException) -> bool:
    """Whether a signal handler of this process raised ``error``.

    Reason: a server's time-out is a SystemExit that looks like a plugin's own. Leans on: a handler runs as a call in
    the frame that it interrupts, so its code is among those of the traceback.
    """
    trace = error.__traceback__
    codes = set()
    while trace is not None:
        codes.add(trace.tb_frame.f_code)
        trace = trace.tb_next
    return not codes.isdisjoint(_codes_of_signal_handlers())


def _codes_of_signal_handlers() -> Iterator[CodeType]:
    for number in signal.valid_signals():
        handler: Any = signal.getsignal(number)
        if not callable(handler):
            continue
        # A partial's function, a method's function, an object's __call__.
        handler = getattr(handler, "func", handler)
        function = handler if hasattr(handler, "__code__") else getattr(handler, "__func__", type(handler).__call__)
        code = getattr(function, "__code__", None)
        if code is not None:
            yield code


class LazyReferences:
    """The references to models by name that no model has answered yet, as they are now.

    Reason: a plugin may import its models before it turns out that its app is not installed; a reference to a model
    that never comes is then a check *error* of Django's, at which every command stops.
    Leans on: ``apps._pending_operations``, lists of functions by app label and model name.
    """

    def __init__(self) -> None:
        self._known = {key: list(waiting) for key, waiting in _pending_operations().items()}

    def forget_later_ones(self) -> None:
        """Drop those that were made since."""
        pending = _pending_operations()
        pending.clear()
        pending.update(self._known)


def _pending_operations() -> Any:
    return apps._pending_operations


class ThreadState:
    """The language, the time zone and the database connections of this thread, to be put back later.

    Reason: Django restores a language and a time zone only for code that uses its context managers, and never ends a
    transaction that was left open. Leans on: ``_active`` of Django's translation and time zone, which hold ``value``
    while one is activated; the connection's ``atomic_blocks``, ``in_atomic_block``, ``autocommit``.
    """

    def __init__(self) -> None:
        self._language = getattr(_language(), "value", None)
        self._language_code = get_language()
        self._time_zone = getattr(_time_zone(), "value", None)
        self._connections = {
            connection: (len(connection.atomic_blocks), _autocommit(connection), _is_closed(connection))
            for connection in connections.all(initialized_only=True)
        }
        #: Whether a transaction was rolled back when it was restored.
        self.rolled_back = False

    def restore(self) -> list[str]:
        """Put back what differs; return what did, in words."""
        changed = []
        if getattr(_language(), "value", None) is not self._language:
            # Its translation.override() may leave the language activated that was only the default before.
            if get_language() != self._language_code:
                changed.append("another language")
            _activate(_language(), self._language)
        if getattr(_time_zone(), "value", None) is not self._time_zone:
            _activate(_time_zone(), self._time_zone)
            changed.append("another time zone")
        for connection in connections.all(initialized_only=True):
            changed += self._restore_connection(connection)
        return changed

    def _restore_connection(self, connection: BaseDatabaseWrapper) -> Iterator[str]:
        # One that the plugin opened: as Django opens them.
        as_opened = (0, connection.settings_dict["AUTOCOMMIT"], False)
        blocks, autocommit, was_closed = self._connections.get(connection, as_opened)
        if len(connection.atomic_blocks) > blocks:
            self.rolled_back = True
            while len(connection.atomic_blocks) > blocks:
                _roll_back_block(connection)
            yield f"an open transaction on {connection.alias!r}, which was rolled back"
        if connection.connection is None or connection.in_atomic_block:
            return
        if _is_closed(connection):
            drop(connection)
            if not was_closed:
                yield f"a closed connection to {connection.alias!r}"
        elif connection.autocommit != autocommit:
            try:
                if not connection.autocommit:
                    self.rolled_back = True
                    connection.rollback()
                connection.set_autocommit(autocommit)
            except Error:
                drop(connection)
            yield f"autocommit switched {'on' if autocommit is False else 'off'} on {connection.alias!r}"


def _autocommit(connection: BaseDatabaseWrapper) -> Any:
    # Before it is connected, the connection itself says False.
    return connection.settings_dict["AUTOCOMMIT"] if connection.connection is None else connection.autocommit


def _activate(local: Any, value: Any) -> None:
    if value is not None:
        local.value = value
    elif hasattr(local, "value"):
        del local.value


def _roll_back_block(connection: BaseDatabaseWrapper) -> None:
    """End the innermost block of ``atomic()`` as an exception would."""
    error = RuntimeError("This block was left open.")
    try:
        connection.atomic_blocks[-1].__exit__(RuntimeError, error, None)
    except Error:
        # Rolling back failed: the server ends what a closed connection had begun.
        drop(connection)


def drop(connection: BaseDatabaseWrapper) -> None:
    """Close ``connection``, so that the next query opens a new one.

    Reason: MySQL's driver refuses to close what is closed. Leans on: Django forgets the driver's connection then, too.
    """
    with contextlib.suppress(Error):
        connection.close()


def _is_closed(connection: BaseDatabaseWrapper) -> bool:
    """Whether the driver's connection was closed without Django's knowledge. Asks the driver, not the server."""
    raw: Any = connection.connection
    if raw is None:
        return False
    if connection.vendor == "postgresql":
        return bool(raw.closed)
    if connection.vendor == "mysql":
        return not raw.open
    if connection.vendor == "sqlite":
        try:
            raw.total_changes  # noqa: B018 - raises when it is closed
        except Exception:
            return True
    return False
