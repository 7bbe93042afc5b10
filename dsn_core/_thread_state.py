"""The state of a thread that the code of plugins may change: language, time zone, database connections.

As in :mod:`dsn_core._django`, these are internals, and ``tests/test_django_internals.py`` fails when they change.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone
from django.utils.translation import get_language, trans_real


def _language() -> Any:
    """The object that holds the active language of this thread or task. A reload of translations replaces it."""
    return trans_real._active  # type: ignore[attr-defined]


def _time_zone() -> Any:
    """The object that holds the active time zone of this thread or task."""
    return timezone._active  # type: ignore[attr-defined]


class ThreadState:
    """The language, the time zone and the database connections of this thread, to be restored later.

    Reason: Django restores a language and a time zone only for code that uses its context managers, and never ends a
    transaction that was left open. Leans on: ``_active`` of Django's translation and time zone, which hold ``value``
    while one is activated, in a context variable; the connection's ``atomic_blocks``, ``in_atomic_block``,
    ``autocommit``.
    """

    def __init__(self) -> None:
        self._language = getattr(_language(), "value", None)
        self._language_code = get_language()
        self._time_zone = getattr(_time_zone(), "value", None)
        self._connections = {
            connection: (len(connection.atomic_blocks), _autocommit(connection), _is_closed(connection))
            for connection in connections.all(initialized_only=True)
        }
        self._context = contextvars.copy_context()
        #: Whether a transaction was rolled back when it was restored.
        self.rolled_back = False

    def looks_unchanged(self) -> bool:
        """Whether nothing differs, as far as a cheap test shows: connections opened since are not looked at."""
        # Comparing all context variables takes a tenth of the time that asking Django's two takes.
        if not self._has_same_context() and (
            getattr(_language(), "value", None) is not self._language
            or getattr(_time_zone(), "value", None) is not self._time_zone
        ):
            return False
        for connection, (blocks, autocommit, was_closed) in self._connections.items():
            if len(connection.atomic_blocks) != blocks or _is_closed(connection) is not was_closed:
                return False
            if not (connection.connection is None or connection.autocommit == autocommit or connection.in_atomic_block):
                return False
        return True

    def _has_same_context(self) -> bool:
        try:
            return contextvars.copy_context() == self._context
        except Exception:
            # A value that cannot be compared with another.
            return False

    def restore(self) -> list[str]:
        """Restore what differs, and return it in words."""
        changed = []
        if getattr(_language(), "value", None) is not self._language:
            # A plugin's translation.override() may leave the default language activated.
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
        # For a connection that the plugin opened: the state in which Django opens one.
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
    # Before it is connected, connection.autocommit is False.
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
        # Rolling back failed: the server does it when the connection is closed.
        drop(connection)


def drop(connection: BaseDatabaseWrapper) -> None:
    """Close ``connection``, so that the next query opens a new one.

    Reason: MySQL's driver raises when it is closed already. Leans on: Django forgets the driver's connection even then.
    """
    with contextlib.suppress(Error):
        connection.close()


def _is_closed(connection: BaseDatabaseWrapper) -> bool:
    """Whether the driver's connection was closed without Django's knowledge. Sends nothing to the server."""
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
