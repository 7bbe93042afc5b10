"""Connecting to Django's signals: just the verbs and senders that triggers name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any

from django.db.models import Model, QuerySet
from django.dispatch import Signal

from dsn_core.contracts.registrations import SignalRegistration
from dsn_core.payload import rebuilding
from dsn_core.plugins.catalogue import catalogue

logger = logging.getLogger("dsn_core.triggers")

Handler = Callable[[SignalRegistration, Any, Mapping[str, Any]], None]
#: A verb, and the sender to listen to (None: any).
Pair = tuple[str, type[Model] | None]

_WAITING = "_dsn_waiting"


class Listener:
    """Receives one verb's signal. A plain function to Django: the async sends run it in a thread."""

    def __init__(self, registration: SignalRegistration, handle: Handler) -> None:
        self.registration = registration
        self.handle = handle

    def __call__(self, sender: Any, **kwargs: Any) -> None:
        # The models of migrations are made anew for each state; they are nobody's rows.
        if self.counts(kwargs) and not (isinstance(sender, type) and sender.__module__ == "__fake__"):
            self.handle(self.registration, sender, kwargs)

    def counts(self, kwargs: dict[str, Any]) -> bool:
        """Whether the signal is news: not a fixture being loaded, nor an instance rebuilt from an event."""
        kwargs.pop("signal", None)
        if self.registration.removes and isinstance(origin := kwargs.get("origin"), QuerySet):
            # To store its rows would be a query for each of them; of which model it was must do.
            kwargs["origin"] = origin.model
        if rebuilding() or (self.registration.needs_model and kwargs.get("raw")):
            return False
        only = self.registration.only or {}
        return all(any(kwargs.get(name) == value for value in values) for name, values in only.items())


class Announcement(Listener):
    """Receives a signal that comes before its fact (``pre_save``): it waits on the instance."""

    def __call__(self, sender: Any, **kwargs: Any) -> None:
        waiting = _waiting_on(kwargs)
        # An earlier one, whose fact never came, is over.
        waiting.pop(self.registration.name, None)
        if self.counts(kwargs):
            waiting[self.registration.name] = kwargs


class Confirmation(Listener):
    """Receives the signal that says the fact has come, and handles what was announced."""

    def __call__(self, sender: Any, **kwargs: Any) -> None:
        waiting = _waiting_on(kwargs)
        announced = waiting.pop(self.registration.name, None)
        if not waiting:
            kwargs["instance"]._state.__dict__.pop(_WAITING, None)
        if announced is not None and not kwargs.get("raw"):
            self.handle(self.registration, sender, announced)


def _waiting_on(kwargs: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What was announced of the signal's instance, by verb."""
    waiting: dict[str, dict[str, Any]] = kwargs["instance"]._state.__dict__.setdefault(_WAITING, {})
    return waiting


class Switchboard:
    """Which signals are connected to whom."""

    def __init__(self, handle: Handler) -> None:
        self._handle = handle
        self._connected: dict[Pair, SignalRegistration] = {}

    def connect(self, wanted: Collection[Pair]) -> None:
        """Be connected to exactly ``wanted``. What is added comes before what is removed: nothing is missed."""
        for pair in wanted:
            registration = catalogue.find(pair[0])
            held = self._connected.get(pair)
            if registration is None or held == registration:
                continue
            if held is not None:
                self._disconnect(pair)
            for signal, uid, receiver in self._receivers(registration):
                signal.connect(receiver, sender=pair[1], weak=False, dispatch_uid=uid)
            self._connected[pair] = registration
        for pair in [pair for pair in self._connected if pair not in wanted]:
            self._disconnect(pair)

    def _disconnect(self, pair: Pair) -> None:
        for signal, uid, _receiver in self._receivers(self._connected.pop(pair)):
            signal.disconnect(sender=pair[1], dispatch_uid=uid)

    def _receivers(self, registration: SignalRegistration) -> list[tuple[Signal, str, Listener]]:
        uid = f"dsn_core:{registration.name}"
        if not registration.recorded_by:
            return [(registration.signal, uid, Listener(registration, self._handle))]
        confirmation = catalogue.find(registration.recorded_by)
        if confirmation is None:
            logger.error(
                "The signal %s is recorded when %s comes, which nothing registers; it is never recorded.",
                registration.name,
                registration.recorded_by,
            )
            return []
        return [
            (registration.signal, uid, Announcement(registration, self._handle)),
            (confirmation.signal, f"{uid}:confirmed", Confirmation(registration, self._handle)),
        ]
