"""Connecting to signals: just those that triggers name, from just the senders that they name."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

from django.core.serializers.base import DeserializedObject
from django.db.models import Model
from django.dispatch import Signal

from dsn_core.contracts.registrations import SignalRegistration
from dsn_core.payload import rebuilding
from dsn_core.pipeline.context import is_muted
from dsn_core.plugins.catalogue import catalogue
from dsn_core.triggers.asking import is_asking
from dsn_core.triggers.index import Ear
from dsn_core.triggers.occasions import Occasion

logger = logging.getLogger("dsn_core.triggers")

#: Records what an occasion matches.
Handler = Callable[[Occasion], object]
#: Whether a signal about an instance, with these arguments, could match anything: a quick look before the exact one.
Looker = Callable[[SignalRegistration, Any, Mapping[str, Any]], bool]
#: Reads columns of an instance as the database holds them now, given the arguments of the signal before the change.
Reader = Callable[[Any, Mapping[str, Any], frozenset[str]], Mapping[str, Any] | None]

#: Changes of one instance that may be under way within one another. More are ones that never came.
MAX_UNDER_WAY = 10


@dataclass(frozen=True)
class Announced:
    """What was said, and read, before a change."""

    kwargs: Mapping[str, Any]
    before: Mapping[str, Any] | None


@dataclass(frozen=True)
class Duty:
    """What one listener is there for. ``fact`` is the signal that it hands on."""

    fact: Signal
    #: The signal that comes before the change, where there is one.
    announcing: Signal | None = None
    #: The verbs of the fact, and those of the announcing signal, which are recorded when the fact comes.
    verbs: tuple[SignalRegistration, ...] = ()
    announced_verbs: tuple[SignalRegistration, ...] = ()
    #: The columns that are read before the change.
    compared: frozenset[str] = frozenset()

    # Cached, since every signal asks.

    @functools.cached_property
    def needs_announcing(self) -> bool:
        return bool(self.announced_verbs or self.compared)

    @functools.cached_property
    def glanced_at(self) -> SignalRegistration | None:
        """The verb, if the duty is no more than to hand on one signal, whose action object is its ``instance``."""
        if self.needs_announcing or len(self.verbs) != 1:
            return None
        verb = self.verbs[0]
        return verb if verb.senders == "models" and verb.action_object is None else None


class Listener:
    """Receives one signal from one sender (None: all), and where needed the one that announces it.

    Its methods are plain functions to Django: the async ways of sending run them in a thread.
    """

    def __init__(
        self, uid: str, sender: type[Model] | None, handle: Handler, could_match: Looker, read: Reader
    ) -> None:
        self.uid = uid
        self.sender = sender
        self.duty: Duty | None = None
        self._handle = handle
        self._could_match = could_match
        self._read = read
        self._ignores = _is_historical if sender is None else _is_fixture

    def take_on(self, duty: Duty) -> None:
        """Be connected for ``duty``, and nothing else."""
        held, self.duty = self.duty, duty
        if held is not None and (held.fact, held.announcing) != (duty.fact, duty.announcing):
            self._disconnect(held)
            held = None
        # First what announces: a fact without it would be missed.
        if duty.needs_announcing and duty.announcing is not None:
            duty.announcing.connect(self.announce, sender=self.sender, weak=False, dispatch_uid=f"{self.uid}:announced")
        if held is None:
            duty.fact.connect(self.receive, sender=self.sender, weak=False, dispatch_uid=self.uid)
        elif held.announcing is not None and not duty.needs_announcing:
            held.announcing.disconnect(sender=self.sender, dispatch_uid=f"{self.uid}:announced")

    def retire(self) -> None:
        """Be connected to nothing any more."""
        if self.duty is not None:
            self._disconnect(self.duty)
            self.duty = None

    def _disconnect(self, duty: Duty) -> None:
        duty.fact.disconnect(sender=self.sender, dispatch_uid=self.uid)
        if duty.announcing is not None:
            duty.announcing.disconnect(sender=self.sender, dispatch_uid=f"{self.uid}:announced")

    def announce(self, sender: Any, **kwargs: Any) -> None:
        """A change is about to come. It waits on its instance, since changes can come within one another."""
        duty = self.duty
        if duty is None or not duty.needs_announcing:
            return
        kwargs.pop("signal", None)
        quiet = is_muted() or self._ignores(sender, kwargs)
        before = self._read(sender, kwargs, duty.compared) if duty.compared and not quiet else None
        waiting = kwargs["instance"]._state.__dict__.setdefault(self.uid, [])
        waiting.append(Announced(kwargs, before))
        del waiting[:-MAX_UNDER_WAY]

    def receive(self, sender: Any, **kwargs: Any) -> None:
        """The fact has come."""
        duty = self.duty
        if duty is None:
            return
        verb, instance = duty.glanced_at, kwargs.get("instance")
        if verb is not None and instance is not None and not self._could_match(verb, instance, kwargs):
            return
        announced = self._announced(kwargs) if duty.needs_announcing else None
        # An instance that is rebuilt from an event, or read by a condition, is no news.
        if is_muted() or rebuilding() or is_asking() or self._ignores(sender, kwargs):
            return
        del kwargs["signal"]
        for registration in duty.verbs:
            self._handle(Occasion(registration, sender, kwargs, None if announced is None else announced.before))
        if announced is not None:
            for registration in duty.announced_verbs:
                self._handle(Occasion(registration, sender, announced.kwargs, announced.before))

    def _announced(self, kwargs: Mapping[str, Any]) -> Announced | None:
        state = kwargs["instance"]._state.__dict__
        waiting = state.get(self.uid)
        if not waiting:
            return None
        announced: Announced = waiting.pop()
        if not waiting:
            del state[self.uid]
        return announced


def _is_fixture(sender: Any, kwargs: Mapping[str, Any]) -> bool:
    if "pk_set" in kwargs and "raw" not in kwargs:
        # Of a relation, Django says it from 6.1 on.
        return _is_being_deserialized(kwargs["instance"])
    return bool(kwargs.get("raw"))


#: Calls that may lie between a fixture's relation being set and who hears of it; there are eight.
_NEAR = 16


def _is_being_deserialized(instance: Model) -> bool:
    """Whether this is said because ``instance`` is being loaded from a fixture, by its ``DeserializedObject``."""
    frame: FrameType | None = sys._getframe()
    for _ in range(_NEAR):
        if frame is None:
            return False
        if frame.f_code is DeserializedObject.save.__code__:
            return frame.f_locals["self"].object is instance
        frame = frame.f_back
    return False


def _is_historical(sender: Any, kwargs: Mapping[str, Any]) -> bool:
    # The models of migrations are made anew for each state; they are nobody's rows.
    return isinstance(sender, type) and sender.__module__ == "__fake__"


class Switchboard:
    """Which signals are connected to whom."""

    def __init__(self, handle: Handler, could_match: Looker, read: Reader) -> None:
        self._handle = handle
        self._could_match = could_match
        self._read = read
        self._listeners: dict[tuple[str, type[Model] | None], Listener] = {}

    def connect(self, wanted: Iterable[tuple[Ear, frozenset[str]]]) -> None:
        """Listen to exactly what is ``wanted``. What is added comes before what is removed: nothing is missed."""
        duties: dict[tuple[str, type[Model] | None], Duty] = {}
        for (verb, sender), compared in wanted:
            registration = catalogue.find(verb)
            if registration is not None and (passage := _passage(registration)) is not None:
                uid, empty = passage
                duties[uid, sender] = _joined(duties.get((uid, sender), empty), registration, compared)
        for (uid, sender), duty in duties.items():
            listener = self._listeners.get((uid, sender))
            if listener is None:
                listener = self._listeners[uid, sender] = Listener(
                    uid, sender, self._handle, self._could_match, self._read
                )
            if listener.duty != duty:
                listener.take_on(duty)
        for key in [key for key in self._listeners if key not in duties]:
            self._listeners.pop(key).retire()


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
