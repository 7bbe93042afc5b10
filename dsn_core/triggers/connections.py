"""Connections: which signals are connected, for which senders.

Once the triggers were read, just those that they name, and signals of models from just the senders that they name.
Until then, every registered signal that could be the first of this process: signals of other than models, and those
that Django sends before a change. The first call of one of them has the triggers read.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from django.db.models import Model, signals

from dsn_core.contracts.registrations import SignalRegistration
from dsn_core.plugins.catalogue import catalogue
from dsn_core.triggers.matcher import Source
from dsn_core.triggers.signal_receivers import FIRST_OF_MODELS, Dispatcher, Duty, FirstReceiver, Receiver

logger = logging.getLogger("dsn_core.triggers")


class Connections:
    """Which signals are connected to which receivers."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._receivers: dict[tuple[str, type[Model] | None], Receiver] = {}
        self._first = [FirstReceiver(signal, dispatcher, self._receivers_of) for signal in FIRST_OF_MODELS]

    def connect(self, sources: Iterable[Source], is_known: bool) -> None:
        """Have exactly ``sources`` connected. What is added comes before what is removed: nothing is missed."""
        duties: dict[tuple[str, type[Model] | None], Duty] = {}
        if not is_known:
            for registration in catalogue:
                # A model class is made before the models can be asked anything.
                if not registration.needs_model and registration.signal is not signals.class_prepared:
                    uid, duty = _passage(registration) or ("", None)
                    if duty is not None:
                        duties[uid, None] = duty
            for first in self._first:
                first.connect()
        for verb, sender, compared in sources:
            found = catalogue.find(verb)
            if found is not None and (passage := _passage(found)) is not None:
                uid, empty = passage
                duties[uid, sender] = _joined(duties.get((uid, sender), empty), found, compared)
        for (uid, sender), duty in duties.items():
            receiver = self._receivers.get((uid, sender))
            if receiver is None:
                receiver = Receiver(uid, sender, self._dispatcher)
                self._receivers = {**self._receivers, (uid, sender): receiver}
            if receiver.duty != duty:
                receiver.take_on(duty)
        gone = [receiver for key, receiver in self._receivers.items() if key not in duties]
        self._receivers = {key: receiver for key, receiver in self._receivers.items() if key in duties}
        for receiver in gone:
            receiver.retire()
        if is_known:
            for first in self._first:
                first.disconnect()

    def _receivers_of(self, sender: Any) -> list[Receiver]:
        # The dictionary is replaced, never changed: other threads connect meanwhile.
        return [receiver for receiver in self._receivers.values() if receiver.sender is sender]


def _passage(registration: SignalRegistration) -> tuple[str, Duty] | None:
    """The change that ``registration`` is about: an identifier, and a duty with its two signals."""
    if not registration.recorded_by:
        announcing = catalogue.find(registration.announced_by) if registration.announced_by else None
        name = f"dsn_core:{announcing.name if announcing else ''}:{registration.name}"
        return name, Duty(registration.signal, announcing.signal if announcing else None)
    fact = catalogue.find(registration.recorded_by)
    if fact is None:
        logger.error(
            "The signal %s is recorded when %s comes, which nothing registers; it is never recorded.",
            registration.name,
            registration.recorded_by,
        )
        return None
    return f"dsn_core:{registration.name}:{fact.name}", Duty(fact.signal, registration.signal)


def _joined(duty: Duty, registration: SignalRegistration, compared: frozenset[str]) -> Duty:
    """``duty`` with one more verb to hand on, and more columns to be read."""
    compared |= duty.compared
    if registration.recorded_by:
        return replace(duty, announced_verbs=_with(duty.announced_verbs, registration), compared=compared)
    return replace(duty, verbs=_with(duty.verbs, registration), compared=compared)


def _with(held: tuple[SignalRegistration, ...], registration: SignalRegistration) -> tuple[SignalRegistration, ...]:
    if registration in held:
        return held
    return tuple(sorted((*held, registration), key=lambda item: item.name))
