"""The dispatcher: listens to the signals that triggers name, and hands matches to the intake.

What a process knows of the triggers has two layers. The *shared* index is what was committed; all
threads read it. Over it, a connection whose transaction edited triggers has a view of its own,
which vanishes with the transaction or savepoint.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
import uuid
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from django.db import connections, router, transaction
from django.db.models import Model

from dsn_core import conf
from dsn_core.contracts.registrations import SignalRegistration
from dsn_core.exceptions import UnknownName
from dsn_core.models import ConfigurationChange, Trigger
from dsn_core.models.changes import ChangeLog
from dsn_core.models.references import pk_text
from dsn_core.pipeline import context, intake
from dsn_core.plugins.catalogue import catalogue
from dsn_core.plugins.loading import describe
from dsn_core.triggers.asking import asking
from dsn_core.triggers.index import Index, read
from dsn_core.triggers.listening import Switchboard
from dsn_core.triggers.occasions import Occasion, written
from dsn_core.triggers.views import Edit, Views

logger = logging.getLogger("dsn_core.triggers")


def home() -> str:
    """The alias of the database where triggers live."""
    return router.db_for_write(Trigger)


class Dispatcher:
    """What this process knows of the triggers. One per process: :data:`dispatcher`.

    Two locks, taken in this order: ``_reading`` while what was committed is read and becomes the
    shared index, ``_lock`` for views and connected signals. No query runs under the second, so that
    nobody whose transaction holds locks of the database waits for a thread that waits for those.
    """

    def __init__(self) -> None:
        self._reading = threading.RLock()
        self._lock = threading.RLock()
        self._shared: Index | None = None
        self._log: ChangeLog | None = None
        self._looked_at = float("-inf")
        self._views = Views(self._rolled_back)
        self._switchboard = Switchboard(self._receive, self._could_match, self._read_before)

    # Matching

    def index(self) -> Index | None:
        """The index that holds for this thread's connection."""
        return self._views.of(connections[home()], self._shared) if self._views.in_use else self._shared

    def _could_match(self, registration: SignalRegistration, instance: Model, kwargs: Mapping[str, Any]) -> bool:
        index = self.index() if self._views.in_use else self._shared
        try:
            return index is not None and index.glance(registration, instance.__class__).could_match(instance, kwargs)
        except Exception:
            # Whoever matches exactly will meet it again, and say so.
            return True

    def handle(self, occasion: Occasion, *, source: str | None = None) -> uuid.UUID | None:
        """Record what ``occasion`` matches; return its id, or None when nothing was recorded.

        ``source`` is the database in which the change was made. Raises only what
        :mod:`~dsn_core.pipeline.intake` must raise.
        """
        found = self._find(occasion)
        return intake.record([found], source=source)[0] if found.matches else None

    def handle_many(self, occasions: Iterable[Occasion], *, source: str | None = None) -> list[uuid.UUID | None]:
        """The same for many at once: all their events are one INSERT."""
        return intake.record([self._find(occasion) for occasion in occasions], source=source)

    def _find(self, occasion: Occasion) -> intake.Finding:
        index = self.index()
        if index is None:
            return intake.NOTHING
        try:
            entries = index.match(occasion)
            if not entries:
                return intake.NOTHING
            return intake.Finding(
                occasion.activity(), [intake.Match(entry.trigger_id, entry.label) for entry in entries]
            )
        except Exception as error:
            intake.errors["match"] += 1
            if conf.current().STRICT or intake.has_lost_a_transaction(error):
                raise
            logger.error(
                "Signal %s could not be matched: %s", occasion.registration.name, describe(error), exc_info=error
            )
            return intake.NOTHING

    def _receive(self, occasion: Occasion) -> None:
        # Only signals of models say with "using" where the change was made; elsewhere it may mean anything.
        kwargs, registration = occasion.kwargs, occasion.registration
        self.handle(occasion, source=kwargs.get("using") if registration.needs_model else None)

    def _read_before(
        self, sender: type[Model], kwargs: Mapping[str, Any], columns: frozenset[str]
    ) -> Mapping[str, Any] | None:
        """What the database holds of those of ``columns`` that the change will write, before it is made.

        Empty where there is no such row yet; None where none of them is written, or they cannot be read.
        """
        instance = kwargs["instance"]
        columns = frozenset(column for column in columns if written(instance, column, kwargs))
        if not columns:
            return None
        if not pk_text(instance):
            return {}
        try:
            with asking():
                rows = sender._base_manager.using(kwargs["using"]).filter(pk=instance.pk).values(*sorted(columns))
                found: list[dict[str, Any]] = list(rows[:1])
        except Exception as error:
            intake.errors["match"] += 1
            if conf.current().STRICT or intake.has_lost_a_transaction(error):
                raise
            logger.error("What %r was before cannot be read: %s", instance, describe(error), exc_info=error)
            return None
        return found[0] if found else {}

    # Knowing

    def look(self, *, force: bool = False, patient: bool = False) -> bool:
        """See whether the triggers changed, at most once per ``REFRESH_SECONDS`` unless ``force``.

        While another thread looks, this one goes on with what is known, unless it is ``patient``.
        Quietly does nothing where the database cannot be asked: no tables yet, or a test that
        forbids queries. Inside a transaction nothing is read unless ``force``, and then it holds
        for that transaction only: it may see what will be rolled back. Returns False where that
        did not succeed.
        """
        using = home()
        try:
            if connections[using].in_atomic_block:
                if force:
                    with transaction.atomic(using=using):
                        self.edited(using, None)
            elif force:
                with self._reading:
                    self._look(using, force=True)
            elif self._is_due():
                self._look_in_turn(using, patient=patient)
        except Exception as error:
            logger.debug("The triggers could not be read: %s", describe(error))
            return False
        return True

    def _is_due(self) -> bool:
        return time.monotonic() - self._looked_at >= conf.current().REFRESH_SECONDS

    def _look_in_turn(self, using: str, *, patient: bool) -> None:
        # While one thread looks, the others go on with what is known, if something is: a database that is slow
        # to answer must not hold up all requests of a process.
        reading = self._reading
        if reading.acquire(blocking=patient or self._shared is None):
            try:
                # Whoever waited has the result of the other's look.
                if self._is_due():
                    self._look(using, force=False)
            finally:
                reading.release()

    def _look(self, using: str, *, force: bool) -> None:
        # What is committed from here on may be seen by the next look only.
        began = time.monotonic()
        try:
            # Before the triggers: what is committed in between is then read once more, instead of never.
            known = None if force or self._shared is None else self._log
            if known is None or ConfigurationChange.state(using) != known.state:
                log = ConfigurationChange.read(using)
                self._read(using, None if known is None else log.since(known))
                self._log = log
        except BaseException:
            self._looked_at = time.monotonic()
            raise
        self._looked_at = began

    def _read(self, using: str, trigger_ids: Collection[int] | None) -> None:
        if trigger_ids is None or self._shared is None:
            self._share(Index(read(using)))
        elif trigger_ids:
            shared = self._shared.copy()
            shared.replace(trigger_ids, read(using, trigger_ids))
            self._share(shared)

    def _share(self, index: Index | None) -> None:
        with self._lock:
            self._shared = index
            self.connect()

    def connect(self) -> None:
        """Listen to just what the shared index and the views of transactions name."""
        with self._lock:
            indexes = [*self._views.all(self._shared), *([self._shared] if self._shared is not None else [])]
            self._switchboard.connect(ear for index in indexes for ear in index.ears())

    def renew(self) -> None:
        """Signals were registered or forgotten: prepare what is known anew."""
        with self._lock:
            if self._shared is not None:
                self._shared = self._shared.renewed()
            self._views.outdate()
            self.connect()

    # Edits

    def edited(self, using: str, trigger_ids: Collection[int] | None) -> None:
        """Triggers (None: any) were edited in the transaction that is open on ``using``: they hold for it at once."""
        if using != home():
            return
        connection = connections[using]
        if self._shared is None and connection not in self._views:
            # A process that never read the triggers reads them all now.
            trigger_ids = None
        edit = Edit(trigger_ids, read(using, trigger_ids), functools.partial(self._committed, using))
        with self._lock:
            self._views.add(connection, edit, self._shared)
            self.connect()
        transaction.on_commit(edit, using=using, robust=True)

    def _committed(self, using: str, edit: Edit) -> None:
        """``edit`` was committed: from now on it holds for all connections."""
        if connections[using].in_atomic_block:
            # A test runs what is to be done on commit, in a transaction that goes on.
            return
        with self._reading:
            with self._lock:
                edits = self._views.end(connections[using], edit)
            if not edits:
                return
            try:
                self._take_over(using, edits)
            except Exception as error:
                # Committed is committed: whoever edited must not get an error. The next look reads it all.
                logger.debug("The edited triggers could not be read: %s", describe(error))
                self._log, self._looked_at = None, float("-inf")

    def _take_over(self, using: str, edits: Collection[Edit]) -> None:
        log = ConfigurationChange.read(using)
        edited = {trigger_id for edit in edits for trigger_id in edit.trigger_ids or ()}
        others = None if self._log is None else log.since(self._log)
        is_any = others is None or any(edit.trigger_ids is None for edit in edits)
        self._read(using, None if is_any else {*edited, *(others or ())})
        self._log = log
        # Whoever empties the tables says nothing, and may be this process: a test that flushes. So the next moment
        # is due, and costs a query that finds the version as it is, or gone.
        self._looked_at = float("-inf")

    def _rolled_back(self) -> None:
        # Should it have been no rollback, but an earlier callback that raised after the commit: look again soon.
        self._looked_at = float("-inf")
        self.connect()

    def forget(self) -> None:
        """Know nothing again, as at the start of a process."""
        with self._reading, self._lock:
            self._log, self._looked_at = None, float("-inf")
            self._views = Views(self._rolled_back)
            self._share(None)

    # Forks. A server that forks its workers copies what it knows, and the locks as other threads hold them.

    def before_fork(self) -> None:
        """Wait until no thread is halfway through connecting. Reading is not waited for: it may take long."""
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """Go on with what was known. Of all threads only this one is left; what the others held, nobody lets go."""
        self._reading, self._lock = threading.RLock(), threading.RLock()
        self._views.keep_only(threading.get_ident())


dispatcher = Dispatcher()


def emit(
    verb: str,
    action_objects: Iterable[Any],
    *,
    actor_object: Any,
    target: str,
    using: str | None,
    signal_kwargs: Mapping[str, Any],
) -> list[uuid.UUID | None]:
    """See :func:`dsn_core.emit_many`."""
    action_objects = list(action_objects)
    nothing: list[uuid.UUID | None] = [None for _ in action_objects]
    try:
        registration = catalogue.get(verb)
    except UnknownName as error:
        if conf.current().STRICT:
            raise
        logger.error("emit(%r) does nothing: %s", verb, error)
        return nothing
    if context.is_muted() or not action_objects:
        return nothing
    occasions = []
    for action_object in action_objects:
        # A class is no instance: where no argument is named for it, it stands for the sender.
        is_sender = registration.action_object is None and isinstance(action_object, type)
        named = {
            registration.action_object or "instance": None if is_sender else action_object,
            registration.actor_argument: actor_object,
            registration.target_argument: target or None,
        }
        kwargs = {**{name: value for name, value in named.items() if value is not None}, **signal_kwargs}
        if using is not None:
            kwargs["using"] = using
        occasions.append(Occasion(registration, _sender_of(action_object), kwargs))
    return dispatcher.handle_many(occasions, source=using)


def _sender_of(action_object: Any) -> Any:
    return action_object if action_object is None or isinstance(action_object, type) else type(action_object)


def refresh() -> None:
    """See :func:`dsn_core.refresh`."""
    dispatcher.look(force=True)
