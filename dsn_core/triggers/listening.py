"""Connecting to Django's signals: just the verbs and senders that triggers name."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping
from typing import Any

from django.db.models import Model
from django.dispatch import Signal

from dsn_core.contracts.registrations import SignalRegistration
from dsn_core.payload import rebuilding
from dsn_core.plugins.catalogue import catalogue

Handler = Callable[[str, Any, Mapping[str, Any]], uuid.UUID | None]
#: A verb, and the sender to listen to (None: any).
Pair = tuple[str, type[Model] | None]

_WAITING = "_dsn_waiting"


class Listener:
    """Receives one verb's signal. A plain function to Django: the async sends run it in a thread."""

    def __init__(self, registration: SignalRegistration, handle: Handler) -> None:
        self.registration = registration
        self.handle = handle

    def __call__(self, sender: Any, **kwargs: Any) -> None:
        if self.counts(kwargs):
            self.handle(self.registration.name, sender, kwargs)

    def counts(self, kwargs: dict[str, Any]) -> bool:
        """Whether the signal is news: not a fixture being loaded, nor an instance rebuilt from an event."""
        kwargs.pop("signal", None)
        if kwargs.get("raw") or rebuilding():
            return False
        only = self.registration.only
        return only is None or all(kwargs.get(name) in values for name, values in only.items())


class Announcement(Listener):
    """Receives a signal that comes before its fact (``pre_save``): it waits on the instance."""

    def __call__(self, sender: Any, **kwargs: Any) -> None:
        if self.counts(kwargs):
            kwargs["instance"]._state.__dict__.setdefault(_WAITING, {})[self.registration.name] = kwargs


class Confirmation(Listener):
    """Receives the signal that says the fact has come, and handles what was announced."""

    def __call__(self, sender: Any, **kwargs: Any) -> None:
        waiting = kwargs["instance"]._state.__dict__.pop(_WAITING, {})
        announced = waiting.pop(self.registration.name, None)
        if waiting:
            kwargs["instance"]._state.__dict__[_WAITING] = waiting
        if announced is not None:
            self.handle(self.registration.name, sender, announced)


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
        confirmed_by = catalogue.get(registration.recorded_by).signal
        return [
            (registration.signal, uid, Announcement(registration, self._handle)),
            (confirmed_by, f"{uid}:confirmed", Confirmation(registration, self._handle)),
        ]
