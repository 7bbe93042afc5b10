"""The cache: what this process knows of the triggers.

Two layers. The *shared* matcher is what was committed; all threads use it. Over it, a connection whose transaction
edited or first read the triggers has an overlay of its own, which vanishes with the transaction or savepoint. That
nothing was read yet is a state of its own: the shared matcher is None then, which does not mean "no triggers".
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence

from django.core.exceptions import SynchronousOnlyOperation
from django.db import Error, connections, router, transaction

from dsn_core import conf, savepoints
from dsn_core.conditions.signal_call import SignalCall
from dsn_core.intake.trouble import errors
from dsn_core.models import ConfigurationChange, Trigger
from dsn_core.models.changes import ChangeLog
from dsn_core.plugins.errors import describe
from dsn_core.triggers.matcher import Matcher, Source
from dsn_core.triggers.rules import Rule, read
from dsn_core.triggers.uncommitted_edits import Edit, UncommittedEdits

logger = logging.getLogger("dsn_core.triggers")

_NEVER = float("-inf")


def home() -> str:
    """The alias of the database where triggers live."""
    return router.db_for_write(Trigger)


class TriggerCache:
    """What one process knows of the triggers, and when it reads them.

    ``connect`` is called with what has to be connected, and whether the triggers were read, whenever that changes.

    Two locks, taken in this order: ``_reading`` while what was committed is read and becomes the shared matcher,
    ``_lock`` for overlays and connected signals. No query runs under the second, so that a thread whose transaction
    holds locks of the database never waits for a thread that waits for those.
    """

    def __init__(self, connect: Callable[[Iterable[Source], bool], None]) -> None:
        self._connect = connect
        self._reading = threading.RLock()
        self._lock = threading.RLock()
        self._shared: Matcher | None = None
        self._log: ChangeLog | None = None
        self._read_at = _NEVER
        self._edits = UncommittedEdits(self._rolled_back)
        #: Why the triggers cannot be read, since the last time that they could; empty while they can.
        self.problem = ""
        #: Whether ``migrate`` is at work in this process: the tables are not yet what the models say.
        self.is_migrating = False

    def matcher(self) -> Matcher | None:
        """The matcher that holds for this thread's connection; None while the triggers were not read."""
        return self._edits.of(connections[home()], self._shared) if self._edits.in_use else self._shared

    def known(self) -> Matcher | None:
        """The same, after the triggers were read if they were not. None where they cannot be read.

        Raises nothing but errors that cost the caller's transaction.
        """
        if self.matcher() is None and self._is_due():
            self._attempt(self._read_first)
        return self.matcher()

    def match(self, call: SignalCall) -> Sequence[Rule]:
        """The triggers that ``call`` matches. Raises nothing but errors that cost the caller's transaction."""
        matcher = self.matcher()
        if matcher is None:
            matcher = self.known()
        try:
            return () if matcher is None else matcher.match(call)
        except BaseException as error:
            errors["match"] += 1
            if conf.current().STRICT or savepoints.is_callers(error):
                raise
            logger.error("Signal %s could not be matched: %s", call.verb, describe(error), exc_info=error)
            return ()

    def refresh(self, *, force: bool = False, patient: bool = False) -> bool:
        """Read what other processes changed, at most once per ``REFRESH_SECONDS`` unless ``force``.

        While another thread reads, this one goes on with what is known, unless it is ``patient``. Inside a transaction
        nothing is read unless ``force``, and then it holds for that transaction only: it may see what will be rolled
        back. Returns False where the triggers could not be read; :attr:`problem` says why.
        """
        return self._attempt(functools.partial(self._refresh, force=force, patient=patient))

    # Reading

    def _attempt(self, work: Callable[[], None]) -> bool:
        try:
            work()
        except Error as error:
            if savepoints.is_callers(error):
                raise
            self._failed(error)
            return False
        except Exception as error:
            # A test that forbids queries, say: the triggers stay as they were, and unknown if they were unknown.
            logger.debug("The triggers could not be read: %s", describe(error))
            return False
        return True

    def _failed(self, error: Error) -> None:
        self._read_at = time.monotonic()
        if self.is_migrating or not _has_tables(home()):
            # Before the first migrate there are no triggers, and at the end of each they are read.
            return
        errors["read"] += 1
        if not self.problem:
            logger.error(
                "The triggers cannot be read, so that signals are matched by what was read before, if anything was: "
                "%s. If a table or column is missing, run migrate. It is tried again every %g s; this is said once.",
                describe(error),
                conf.current().REFRESH_SECONDS,
            )
        self.problem = describe(error)

    def _is_due(self) -> bool:
        return time.monotonic() - self._read_at >= conf.current().REFRESH_SECONDS

    def _read_first(self) -> None:
        using = home()
        try:
            # It may be the first connection, which reads the triggers as soon as it is there.
            connections[using].ensure_connection()
        except SynchronousOnlyOperation:
            # A signal sent in a coroutine by send(). Where no thread of its own reads, the triggers stay unknown.
            def read_apart() -> None:
                try:
                    self.refresh(patient=True)
                finally:
                    connections[using].close()

            thread = threading.Thread(target=read_apart, name="dsn first reading")
            thread.start()
            thread.join()
            return
        self._refresh(force=connections[using].in_atomic_block and self.matcher() is None, patient=True)

    def _refresh(self, *, force: bool, patient: bool) -> None:
        using = home()
        connection = connections[using]
        if connection.in_atomic_block:
            # One that is to be rolled back takes no query any more.
            if force and not connection.needs_rollback:
                with transaction.atomic(using=using):
                    self.edited(using, None)
        elif force:
            with self._reading:
                self._read(using, force=True)
        # While one thread reads, the others go on with what is known, if something is: a database that is slow to
        # answer must not hold up all requests of a process.
        elif self._is_due() and self._reading.acquire(blocking=patient or self._shared is None):
            try:
                # A thread that waited has the result of the other's reading.
                if self._is_due():
                    self._read(using, force=False)
            finally:
                self._reading.release()

    def _read(self, using: str, *, force: bool) -> None:
        # What is committed from here on may be seen by the next reading only.
        began = time.monotonic()
        # Before the triggers: what is committed in between is then read once more, instead of never.
        known = None if force or self._shared is None else self._log
        if known is None or ConfigurationChange.state(using) != known.state:
            log = ConfigurationChange.read(using)
            self._read_triggers(using, None if known is None else log.since(known))
            self._log = log
        self._read_at, self.problem = began, ""

    def _read_triggers(self, using: str, trigger_ids: Collection[int] | None) -> None:
        if trigger_ids is None or self._shared is None:
            self._share(Matcher(read(using)))
        elif trigger_ids:
            self._share(self._shared.with_rules(trigger_ids, read(using, trigger_ids)))

    def _share(self, matcher: Matcher | None) -> None:
        with self._lock:
            self._shared = matcher
            self.connect()

    def connect(self) -> None:
        """Have just those signals connected that the shared matcher and the overlays name."""
        with self._lock:
            shared = self._shared
            matchers = [*self._edits.all(shared), *([shared] if shared is not None else [])]
            self._connect((source for matcher in matchers for source in matcher.sources()), shared is not None)

    def catalogue_changed(self) -> None:
        """Signals were registered or forgotten: prepare again what is known."""
        with self._lock:
            if self._shared is not None:
                self._shared = self._shared.prepared()
            self._edits.outdate()
            self.connect()

    # Edits

    def edited(self, using: str, trigger_ids: Collection[int] | None) -> None:
        """Triggers (None: any) were edited in the transaction that is open on ``using``: they hold for it at once."""
        if using != home():
            return
        connection = connections[using]
        if self._edits.of(connection, self._shared) is None:
            # A process that never read the triggers reads them all now.
            trigger_ids = None
        edit = Edit(trigger_ids, read(using, trigger_ids), functools.partial(self._committed, using))
        with self._lock:
            self._edits.add(connection, edit, self._shared)
            self.connect()
        transaction.on_commit(edit, using=using, robust=True)

    def _committed(self, using: str, edit: Edit) -> None:
        """``edit`` was committed: from now on it holds for all connections."""
        if connections[using].in_atomic_block:
            # A test runs what is to be done on commit, in a transaction that goes on.
            return
        with self._reading:
            with self._lock:
                edits = self._edits.end(connections[using], edit)
            if not edits:
                return
            try:
                self._take_over(using, edits)
            except Error as error:
                # Committed is committed: the editing code must not get an error. The next reading reads all.
                self._failed(error)
                self._log, self._read_at = None, _NEVER

    def _take_over(self, using: str, edits: Collection[Edit]) -> None:
        log = ConfigurationChange.read(using)
        edited = {trigger_id for edit in edits for trigger_id in edit.trigger_ids or ()}
        others = None if self._log is None else log.since(self._log)
        is_any = others is None or any(edit.trigger_ids is None for edit in edits)
        self._read_triggers(using, None if is_any else {*edited, *(others or ())})
        self._log = log
        # A test that flushes the tables announces nothing, and may be this process. So reading is due, and costs a
        # query that finds the changes as they are, or gone.
        self._read_at = _NEVER

    def _rolled_back(self) -> None:
        # Should it have been no rollback, but an earlier callback that raised after the commit: read again soon.
        self._read_at = _NEVER
        self.connect()

    def forget(self) -> None:
        """Know nothing again, as at the start of a process."""
        with self._reading, self._lock:
            self._log, self._read_at, self.problem = None, _NEVER, ""
            self._edits = UncommittedEdits(self._rolled_back)
            self._share(None)

    # Forks. A server that forks its workers copies what it knows, and the locks as other threads hold them.

    def before_fork(self) -> None:
        """Wait until no thread is halfway through connecting. Reading is not waited for: it may take long."""
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """Go on with what was known. Of all threads only this one is left: what the others held stays locked."""
        self._reading, self._lock = threading.RLock(), threading.RLock()
        self._edits.keep_only(threading.get_ident())


def _has_tables(using: str) -> bool:
    """Whether the table of triggers exists; True as well where that cannot be asked."""
    connection = connections[using]
    if connection.needs_rollback:
        return True
    try:
        with savepoints.guarded():
            return Trigger._meta.db_table in connection.introspection.table_names()
    except Error:
        return True
