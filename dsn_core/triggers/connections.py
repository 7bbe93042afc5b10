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
from dsn_core.triggers.cache import TriggerCache
from dsn_core.triggers.matcher import Source
from dsn_core.triggers.signal_receivers import FIRST_OF_MODELS, Duty, FirstReceiver, Receiver

logger = logging.getLogger("dsn_core.triggers")


class Connections:
    """Which signals are connected to which receivers, as the triggers of ``cache`` need it."""

    def __init__(self) -> None:
        self.cache = TriggerCache(self.connect)
        self._receivers: dict[tuple[str, type[Model] | None], Receiver] = {}
        self._first = [FirstReceiver(signal, self.cache, self._receivers_of) for signal in FIRST_OF_MODELS]

    def connect(self, sources: Iterable[Source], is_known: bool) -> None:
        """Connect exactly ``sources``. Additions come before removals, so that no signal is missed."""
        duties: dict[tuple[str, type[Model] | None], Duty] = {}
        if not is_known:
            for registration in catalogue:
                # class_prepared comes before models can be queried.
                if not registration.needs_model and registration.signal is not signals.class_prepared:
                    _add(duties, registration, None)
            for first in self._first:
                first.connect(True)
        for verb, sender, compared in sources:
            if (found := catalogue.find(verb)) is not None:
                _add(duties, found, sender, compared)
        for (uid, sender), duty in duties.items():
            receiver = self._receivers.get((uid, sender))
            if receiver is None:
                receiver = Receiver(uid, sender, self.cache)
                self._receivers = {**self._receivers, (uid, sender): receiver}
            if receiver.duty != duty:
                receiver.take_on(duty)
        gone = [receiver for key, receiver in self._receivers.items() if key not in duties]
        self._receivers = {key: receiver for key, receiver in self._receivers.items() if key in duties}
        for receiver in gone:
            receiver.take_on(None)
        if is_known:
            for first in self._first:
                first.connect(False)

    def _receivers_of(self, sender: Any) -> list[Receiver]:
        # The dictionary is replaced, never changed: other threads connect meanwhile.
        return [receiver for receiver in self._receivers.values() if receiver.sender is sender]


def _add(
    duties: dict[tuple[str, type[Model] | None], Duty],
    registration: SignalRegistration,
    sender: type[Model] | None,
    compared: frozenset[str] | None = None,
) -> None:
    """Give ``duties`` the one of the change that ``registration`` is about, with its verb and the columns to read.

    ``compared`` is None where only the change is known, and no trigger.
    """
    announcing, fact = catalogue.find(registration.announced_by), catalogue.find(registration.recorded_by)
    if not registration.recorded_by:
        fact = registration
    elif fact is not None:
        announcing = registration
    else:
        said = "The signal %s is recorded when %s is sent, which is not registered: it is never recorded."
        logger.error(said, registration.name, registration.recorded_by)
        return
    uid = f"dsn_core:{announcing.name if announcing else ''}:{fact.name}"
    duty = duties.setdefault((uid, sender), Duty(fact.signal, announcing.signal if announcing else None))
    if compared is not None:
        name = "announced_verbs" if registration.recorded_by else "verbs"
        verbs = getattr(duty, name)
        if registration not in verbs:
            verbs = tuple(sorted((*verbs, registration), key=lambda item: item.name))
        duties[uid, sender] = replace(duty, compared=duty.compared | compared, **{name: verbs})
