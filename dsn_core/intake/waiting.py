"""Events that the database refused for now: a lock or a statement took too long, or another error that passes.

In a transaction they wait for its commit, and are stored with one INSERT then. Outside of one they are tried again for
a short time of the caller, and then by a thread.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from dsn_core import conf, savepoints
from dsn_core._django import after_commit_first, is_to_come, open_savepoints
from dsn_core.database_errors import is_conflict, is_without_connection, will_pass
from dsn_core.intake.backlog import Lot, backlog
from dsn_core.intake.storing import NewEvent, store
from dsn_core.intake.trouble import drop
from dsn_core.plugins.errors import describe

logger = logging.getLogger("dsn_core.intake")

#: Seconds of the caller's time for further attempts.
PATIENCE: Final = 1.0
#: Seconds until the first retry, doubled for each following one; and the least time for an attempt.
FIRST_PAUSE: Final = 0.02
LEAST: Final = 0.02

Prepare = Callable[[], Sequence[NewEvent]]


def keep(prepare: Prepare, using: str, *, may_raise: bool) -> bool:
    """Store the events of ``prepare()`` now, or as soon as the database accepts them; return True.

    Raises errors that cost an open transaction, errors that do not pass and, with ``may_raise`` (an exception reaches
    the code of the transaction), conflicts for which the transaction must be run again.
    """
    connection = connections[using]
    if not connection.in_atomic_block and connection.get_autocommit():
        return _keep_alone(prepare, using)
    events = prepare()
    held = AfterCommit.of(connection) if _held else None
    if held is not None:
        # A statement of this transaction has timed out already. The next would, too.
        held.add(events)
        return True
    try:
        store(events, using, may_raise=may_raise)
    except Exception as error:
        if conf.current().STRICT or savepoints.any_is_lost() or not will_pass(error):
            raise
        if may_raise and is_conflict(error):
            raise
        reason = describe(error)
        if not connection.in_atomic_block:
            # With autocommit off, the commit cannot be observed.
            drop(events, using, reason)
            return True
        logger.warning("Events are recorded after the commit, since the database refused them: %s", reason)
        AfterCommit(using).add(events)
    return True


def _keep_alone(prepare: Prepare, using: str) -> bool:
    """The same outside of a transaction: now, after retries, or by the thread."""
    lot = Lot((), using, "others are waiting")
    try:
        lot.events = prepare()
        if backlog.is_busy():
            # It would probably be refused like those that wait.
            backlog.put(lot)
        else:
            # Limited only by the database's own time-outs.
            store(lot.events, using)
    except Exception as error:
        if conf.current().STRICT or not will_pass(error):
            raise
        lot.reason = describe(error)
        _try_again(lot, prepare, is_lost=is_without_connection(error))
    return True


def _try_again(lot: Lot, prepare: Prepare, *, is_lost: bool = False) -> None:
    """Store ``lot`` within :data:`PATIENCE`, or leave it to the thread."""
    connection, pause = connections[lot.using], FIRST_PAUSE
    until = time.monotonic() + PATIENCE
    # A lost connection is left to the caller to open again: it may have held more than a transaction.
    while not is_lost and savepoints.can_limit(connection) and (left := until - time.monotonic()) > LEAST:
        try:
            with savepoints.limited(connection, left):
                lot.events = lot.events or prepare()
                store(lot.events, lot.using)
            return
        except Exception as error:
            if not will_pass(error):
                raise
            lot.reason, is_lost = describe(error), is_without_connection(error)
        time.sleep(max(0.0, min(pause, until - time.monotonic())))
        pause *= 2
    lot.events = lot.events or prepare()
    backlog.put(lot)


class AfterCommit:
    """Events that wait for the commit of one transaction, as one of its on-commit functions."""

    def __init__(self, using: str) -> None:
        self._using = using
        self._survivors: list[NewEvent] = []
        #: The events of the savepoints that are open now: these are committed or rolled back together.
        self._last: list[NewEvent] = []
        self._savepoint_ids: set[str] | None = None
        _held[connections[using]] = self

    @staticmethod
    def of(connection: BaseDatabaseWrapper) -> AfterCommit | None:
        """The events that wait for the commit of the open transaction on ``connection``, or None."""
        held = _held.get(connection)
        if held is not None and not is_to_come(connection, held.finish):
            # It was rolled back.
            del _held[connection]
            return None
        return held

    def add(self, events: Sequence[NewEvent]) -> None:
        """Record ``events`` after the commit, if no savepoint that is open now is rolled back."""
        connection = connections[self._using]
        if (savepoint_ids := open_savepoints(connection)) != self._savepoint_ids:
            waiting: list[NewEvent] = []
            self._savepoint_ids, self._last = savepoint_ids, waiting

            def survived() -> None:
                self._survivors += waiting
                # A test may run on-commit functions more than once.
                waiting.clear()

            after_commit_first(connection, survived, self.finish)
        self._last += events

    def finish(self) -> None:
        """Store the events after the commit, when all marks have been called."""
        connection = connections[self._using]
        _held.pop(connection, None)
        if not self._survivors:
            return
        lot = Lot(tuple(self._survivors), self._using, "the transaction had to be committed first")
        self._survivors.clear()
        try:
            if connection.in_atomic_block:
                # A test runs on-commit functions in a transaction that continues.
                store(lot.events, self._using)
            elif backlog.is_busy():
                backlog.put(lot)
            else:
                _try_again(lot, lambda: lot.events)
        except Exception as error:
            drop(lot.events, self._using, describe(error))


_held: weakref.WeakKeyDictionary[BaseDatabaseWrapper, AfterCommit] = weakref.WeakKeyDictionary()
