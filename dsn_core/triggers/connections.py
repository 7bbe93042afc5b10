"""Connections: which signals are connected, for which senders.

After the triggers were read: the signals that they name, signals of models only for the senders that they name.
Before: every registered signal that could come first in this process, which are the signals that are not of models and
those that Django sends before a change. The first call of one of them reads the triggers.
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
        """Connect exactly ``sources``. Additions come before removals, so that no signal is missed."""
        duties: dict[tuple[str, type[Model] | None], Duty] = {}
        if not is_known:
            for registration in catalogue:
                # class_prepared comes before models can be queried.
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
    """The identifier and the duty, with its one or two signals, of the change that ``registration`` is about."""
    if not registration.recorded_by:
        announcing = catalogue.find(registration.announced_by) if registration.announced_by else None
        name = f"dsn_core:{announcing.name if announcing else ''}:{registration.name}"
        return name, Duty(registration.signal, announcing.signal if announcing else None)
    fact = catalogue.find(registration.recorded_by)
    if fact is None:
        logger.error(
            "The signal %s is recorded when %s is sent, which is not registered: it is never recorded.",
            registration.name,
            registration.recorded_by,
        )
        return None
    return f"dsn_core:{registration.name}:{fact.name}", Duty(fact.signal, registration.signal)


def _joined(duty: Duty, registration: SignalRegistration, compared: frozenset[str]) -> Duty:
    """``duty`` with a further verb, and further columns to read."""
    compared |= duty.compared
    if registration.recorded_by:
        return replace(duty, announced_verbs=_with(duty.announced_verbs, registration), compared=compared)
    return replace(duty, verbs=_with(duty.verbs, registration), compared=compared)


def _with(held: tuple[SignalRegistration, ...], registration: SignalRegistration) -> tuple[SignalRegistration, ...]:
    if registration in held:
        return held
    return tuple(sorted((*held, registration), key=lambda item: item.name))
