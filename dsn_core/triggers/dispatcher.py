"""The dispatcher: listens to the signals that triggers name, and hands matches to the intake.

What a process knows of the triggers has two layers. The *shared* index is what was committed; all
threads read it. Over it, a connection whose transaction edited triggers has a view of its own,
which vanishes with the transaction or savepoint.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Collection, Mapping
from typing import Any

from django.core.signals import request_started
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate

from dsn_core import conf
from dsn_core.contracts.activities import Activity
from dsn_core.exceptions import UnknownName
from dsn_core.models import ConfigurationVersion, Trigger
from dsn_core.pipeline import intake
from dsn_core.plugins.catalogue import catalogue
from dsn_core.plugins.loading import describe
from dsn_core.signals import catalogue_changed, configuration_changed
from dsn_core.triggers import listening
from dsn_core.triggers.index import Index, read
from dsn_core.triggers.views import Edit, Views

logger = logging.getLogger("dsn_core.triggers")


def home() -> str:
    """The alias of the database where triggers live."""
    return router.db_for_write(Trigger)


class Dispatcher:
    """What this process knows of the triggers. One per process: :data:`dispatcher`."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._shared: Index | None = None
        self._version: int | None = None
        self._looked_at = float("-inf")
        self._views = Views()
        self._switchboard = listening.Switchboard(self.handle)

    # Matching

    def index(self) -> Index | None:
        """The index that holds for this thread's connection."""
        return self._views.of(connections[home()], self._shared) if self._views else self._shared

    def handle(self, verb: str, sender: Any, kwargs: Mapping[str, Any]) -> uuid.UUID | None:
        """Record what ``verb`` matches. Raises only what :mod:`~dsn_core.pipeline.intake` must raise."""
        index = self.index()
        registration = catalogue.find(verb)
        if index is None or registration is None:
            return None
        try:
            entries, (action_object, actor_object, target) = index.match(registration, sender, kwargs)
        except Exception as error:
            intake.errors["match"] += 1
            if conf.current().STRICT:
                raise
            logger.error("Signal %s could not be matched: %s", verb, describe(error), exc_info=error)
            return None
        if not entries:
            return None
        activity = Activity(verb, action_object, actor_object, target, sender, kwargs)
        matches = [intake.Match(entry.trigger_id, entry.label) for entry in entries]
        return intake.record(matches, activity, source=kwargs.get("using") if registration.needs_model else None)

    # Knowing

    def look(self, *, force: bool = False) -> None:
        """See whether the triggers changed, at most once per ``REFRESH_SECONDS`` unless ``force``.

        Quietly does nothing where the database cannot or must not be asked now: inside a
        transaction, and as long as the tables are not there.
        """
        now = time.monotonic()
        if not force and self._shared is not None and now - self._looked_at < conf.current().REFRESH_SECONDS:
            return
        using = home()
        if connections[using].in_atomic_block and not force:
            return
        with self._lock:
            self._looked_at = now
            try:
                version = ConfigurationVersion.look(using)
                if self._shared is None or version != self._version or force:
                    shared = Index(read(using))
                    self._shared, self._version = shared, version
            except Exception as error:
                # No table or column yet, or a test that forbids queries: no triggers yet, and another look later.
                logger.debug("The triggers could not be read: %s", describe(error))
                return
            self.connect()

    def connect(self) -> None:
        """Listen to just what the shared index and the views of transactions name."""
        with self._lock:
            indexes = [*self._views.all(), *([self._shared] if self._shared is not None else [])]
            self._switchboard.connect({pair for index in indexes for pair in index.connections(catalogue.find)})

    def edited(self, using: str, trigger_ids: Collection[int] | None) -> None:
        """Triggers were edited in the transaction that is open on ``using``: they hold for it at once."""
        if using != home():
            return
        with self._lock:
            # A process that never read the triggers reads them all now.
            ids = None if self._shared is None else trigger_ids
            edit = Edit(ids, read(using, ids), self._committed)
            self._views.add(connections[using], edit, self._shared)
            self.connect()

    def _committed(self, using: str, trigger_ids: Collection[int] | None) -> None:
        """An edit was committed: from now on it holds for all connections."""
        with self._lock:
            if self._shared is None or trigger_ids is None:
                shared = Index(read(using))
            else:
                shared = self._shared.copy()
                shared.replace(trigger_ids, read(using, trigger_ids))
            self._shared = shared
            self.connect()

    def forget(self) -> None:
        """Know nothing again, as at the start of a process."""
        with self._lock:
            self._shared, self._version, self._looked_at = None, None, float("-inf")
            self._views = Views()
            self.connect()


dispatcher = Dispatcher()


def emit(
    verb: str,
    *,
    action_object: Any,
    actor_object: Any,
    target: str,
    using: str | None,
    signal_kwargs: dict[str, Any],
) -> uuid.UUID | None:
    """See :func:`dsn_core.emit`."""
    try:
        registration = catalogue.get(verb)
    except UnknownName as error:
        if conf.current().STRICT:
            raise
        logger.error("emit(%r) does nothing: %s", verb, error)
        return None
    named = {
        registration.action_object or "instance": action_object,
        registration.actor_object or "actor_object": actor_object,
        registration.target or "target": target or None,
    }
    kwargs = {**{name: value for name, value in named.items() if value is not None}, **signal_kwargs}
    if using is not None:
        kwargs["using"] = using
    return dispatcher.handle(verb, _sender_of(action_object), kwargs)


def _sender_of(action_object: Any) -> Any:
    return action_object if action_object is None or isinstance(action_object, type) else type(action_object)


def refresh() -> None:
    """See :func:`dsn_core.refresh`."""
    dispatcher.look(force=True)


def install() -> None:
    """Connect to the moments at which triggers may be read. Runs no query."""
    connections_: list[tuple[Any, Callable[..., None]]] = [
        (connection_created, _on_connection_created),
        (request_started, _on_request_started),
        (post_migrate, _on_post_migrate),
        (configuration_changed, _on_configuration_changed),
        (catalogue_changed, _on_catalogue_changed),
    ]
    for signal, receiver in connections_:
        signal.connect(receiver, weak=False, dispatch_uid=f"dsn_core.{receiver.__name__}")


def _on_connection_created(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    if connection.alias == home() and connections[connection.alias] is connection:
        dispatcher.look()


def _on_request_started(**kwargs: Any) -> None:
    connection = connections[home()]
    # Not where it would open a connection, nor where somebody counts the queries of this one.
    if connection.connection is not None and not connection.force_debug_cursor:
        dispatcher.look()


def _on_post_migrate(sender: Any, using: str, **kwargs: Any) -> None:
    if sender.label == "dsn_core" and using == home():
        dispatcher.look(force=True)


def _on_configuration_changed(using: str, trigger_ids: Collection[int] | None, **kwargs: Any) -> None:
    dispatcher.edited(using, trigger_ids)


def _on_catalogue_changed(**kwargs: Any) -> None:
    dispatcher.connect()
