"""Receivers of signals, which have them matched and recorded.

A :class:`Receiver` has a duty: the signal that it passes on, and, where conditions compare values before and after, the
signal before the change. A :class:`FirstReceiver` receives a signal of models from all senders until the triggers were
read.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from django.db.backends.base.base import NO_DB_ALIAS
from django.db.models import Model, signals
from django.dispatch import Signal

from dsn_core import conf, savepoints
from dsn_core._django import is_being_deserialized, is_historical
from dsn_core.conditions.signal_call import SignalCall, is_written
from dsn_core.context import is_muted
from dsn_core.contracts.registrations import SignalRegistration
from dsn_core.intake import record as intake
from dsn_core.intake.trouble import errors
from dsn_core.models.trigger import OWN_APP
from dsn_core.payload import rebuilding
from dsn_core.plugins.errors import describe
from dsn_core.references import pk_text
from dsn_core.triggers.cache import TriggerCache

logger = logging.getLogger("dsn_core.triggers")

#: Nested changes of one instance, at most. Others were announced and did not happen.
MAX_UNDER_WAY = 10
#: Sent before a change, so that the later signals of the change are connected in time.
FIRST_OF_MODELS: Final = (signals.pre_save, signals.pre_delete, signals.m2m_changed)
_NOT_TAKEN: Final = object()


@dataclass(frozen=True)
class Announced:
    """The arguments of the signal before a change, and the values that were read then."""

    kwargs: Mapping[str, Any]
    before: Mapping[str, Any] | None
    #: Whether it came through a :class:`FirstReceiver`, and may come a second time.
    is_handed: bool = False


@dataclass(frozen=True)
class Duty:
    """The task of one receiver. ``fact`` is the signal that it passes on."""

    fact: Signal
    #: The signal before the change, if there is one.
    announcing: Signal | None = None
    #: The verbs of the fact, and those of the announcing signal, which are recorded when the fact is sent.
    verbs: tuple[SignalRegistration, ...] = ()
    announced_verbs: tuple[SignalRegistration, ...] = ()
    #: The columns that are read before the change.
    compared: frozenset[str] = frozenset()

    # Cached, since they are used at every signal.

    @functools.cached_property
    def needs_announcing(self) -> bool:
        return bool(self.announced_verbs or self.compared)

    @functools.cached_property
    def comes_first(self) -> bool:
        return self.fact in FIRST_OF_MODELS

    @functools.cached_property
    def prefiltered(self) -> SignalRegistration | None:
        """The verb, if the duty is only to pass on one signal whose action object is its ``instance``."""
        if self.needs_announcing or len(self.verbs) != 1:
            return None
        verb = self.verbs[0]
        return verb if verb.senders == "models" and verb.action_object is None else None


class Receiver:
    """Receives one signal from one sender (None: all), and where needed the one that announces it.

    Its methods are synchronous: Django's async ways of sending run them in a thread.
    """

    def __init__(self, uid: str, sender: type[Model] | None, cache: TriggerCache) -> None:
        self.uid = uid
        self.sender = sender
        self.duty: Duty | None = None
        self._cache = cache
        self._ignores = _is_no_news if sender is None else _is_fixture

    def take_on(self, duty: Duty | None) -> None:
        """Connect for ``duty`` (None: not at all), and for nothing else."""
        before, after = self._connected_for(self.duty), self._connected_for(duty)
        self.duty = duty
        for uid, (signal, receive) in before.items():
            if after.get(uid) != (signal, receive):
                signal.disconnect(sender=self.sender, dispatch_uid=uid)
        for uid, (signal, receive) in after.items():
            if before.get(uid) != (signal, receive):
                signal.connect(receive, sender=self.sender, weak=False, dispatch_uid=uid)

    def _connected_for(self, duty: Duty | None) -> dict[str, tuple[Signal, Callable[..., None]]]:
        found: dict[str, tuple[Signal, Callable[..., None]]] = {}
        # The announcing signal first, since a fact without it would be missed.
        if duty is not None and duty.needs_announcing and duty.announcing is not None:
            found[f"{self.uid}:announced"] = duty.announcing, self.announce
        if duty is not None:
            found[self.uid] = duty.fact, self.receive
        return found

    def announce(self, sender: Any, **kwargs: Any) -> None:
        """Store an announced change on its instance, in a list, since changes can be nested."""
        self._announce(sender, kwargs, is_handed=False)

    def _announce(self, sender: Any, kwargs: dict[str, Any], *, is_handed: bool) -> None:
        duty = self.duty
        if duty is None or not duty.needs_announcing:
            return
        kwargs.pop("signal", None)
        waiting = kwargs["instance"]._state.__dict__.setdefault(self.uid, [])
        if waiting and waiting[-1].is_handed:
            # The same signal: this receiver was connected just before it was sent.
            waiting[-1] = replace(waiting[-1], is_handed=False)
            return
        is_quiet = is_muted() or self._ignores(sender, kwargs)
        before = _read_before(sender, kwargs, duty.compared) if duty.compared and not is_quiet else None
        waiting.append(Announced(kwargs, before, is_handed))
        del waiting[:-MAX_UNDER_WAY]

    def receive(self, sender: Any, **kwargs: Any) -> None:
        """Record the fact, after a cheap test whether it could match."""
        if self.sender is None and self._cache.matcher() is None and not self._ignores(sender, kwargs):
            # Only signals that are not of models are connected for all senders.
            self._cache.known()
        duty = self.duty
        if duty is None or (duty.comes_first and self._was_taken_over(kwargs)):
            return
        verb, instance = duty.prefiltered, kwargs.get("instance")
        if verb is not None and instance is not None:
            matcher = self._cache.matcher()
            if matcher is None or not matcher.could_match(verb, instance, kwargs):
                return
        announced = self._announced(kwargs) if duty.needs_announcing else None
        # Instances that are rebuilt from an event, or read by a condition, fire no trigger.
        if is_muted() or rebuilding() or savepoints.is_matching_query() or self._ignores(sender, kwargs):
            return
        del kwargs["signal"]
        before = None if announced is None else announced.before
        calls = [SignalCall(registration, sender, kwargs, before) for registration in duty.verbs]
        if announced is not None:
            calls += [SignalCall(found, sender, announced.kwargs, before) for found in duty.announced_verbs]
        for call in calls:
            if triggers := self._cache.match(call):
                # "using" is the changed database in signals of models only; in others it may mean anything.
                source = call.signal_kwargs.get("using") if call.registration.needs_model else None
                intake.record([intake.Match(call, triggers)], source=source)

    def _announced(self, kwargs: Mapping[str, Any]) -> Announced | None:
        state = kwargs["instance"]._state.__dict__
        waiting = state.get(self.uid)
        if not waiting:
            return None
        announced: Announced = waiting.pop()
        if not waiting:
            del state[self.uid]
        return announced

    def is_connected_to(self, signal: Signal) -> bool:
        return any(connected is signal for connected, _ in self._connected_for(self.duty).values())

    def take_over(self, signal: Signal, sender: Any, kwargs: Mapping[str, Any]) -> None:
        """Handle a signal that was sent before this receiver was connected to it."""
        duty = self.duty
        if duty is None:
            return
        if duty.needs_announcing and signal is duty.announcing:
            self._announce(sender, {**kwargs}, is_handed=True)
        elif signal is duty.fact:
            self.receive(sender, **kwargs)
            kwargs["instance"]._state.__dict__[f"{self.uid}:taken"] = kwargs.get("action")

    def _was_taken_over(self, kwargs: Mapping[str, Any]) -> bool:
        """Whether this signal was taken over already, and Django calls this receiver for it, too."""
        taken = kwargs["instance"]._state.__dict__.pop(f"{self.uid}:taken", _NOT_TAKEN)
        return taken is not _NOT_TAKEN and taken == kwargs.get("action")


class FirstReceiver:
    """Receives one signal of models from all senders, until the triggers were read.

    It reads them, and passes its signal to the receivers connected by that, which Django does not call for it.
    """

    def __init__(self, signal: Signal, cache: TriggerCache, receivers: Callable[[Any], list[Receiver]]) -> None:
        self._signal = signal
        self._cache = cache
        self._receivers = receivers
        self._uid = f"dsn_core:first:{id(signal)}"
        self.is_connected = False

    def connect(self, wanted: bool) -> None:
        if wanted and not self.is_connected:
            self._signal.connect(self.receive, weak=False, dispatch_uid=self._uid)
        elif self.is_connected and not wanted:
            self._signal.disconnect(dispatch_uid=self._uid)
        self.is_connected = wanted

    def receive(self, sender: Any, **kwargs: Any) -> None:
        """Called for each signal until the triggers were read."""
        is_own = getattr(getattr(sender, "_meta", None), "app_label", OWN_APP) == OWN_APP
        if is_muted() or is_own or is_historical(sender) or _is_fixture(sender, kwargs):
            return
        connected: list[Receiver] = []
        if self._cache.matcher() is None:
            # Django calls the receivers that another transaction had connected.
            connected = [receiver for receiver in self._receivers(sender) if receiver.is_connected_to(self._signal)]
            self._cache.known()
        elif self.is_connected:
            # The transaction itself had read the triggers, and connected the receivers.
            return
        # Otherwise another thread read the triggers after Django had listed the receivers of this signal.
        for receiver in self._receivers(sender):
            if receiver not in connected:
                receiver.take_over(self._signal, sender, kwargs)


def _is_fixture(sender: Any, kwargs: Mapping[str, Any]) -> bool:
    if "pk_set" in kwargs and "raw" not in kwargs:
        # Before Django 6.1, signals of relations have no "raw".
        return is_being_deserialized(kwargs["instance"])
    return bool(kwargs.get("raw"))


def _is_no_news(sender: Any, kwargs: Mapping[str, Any]) -> bool:
    # Django creates and drops databases over a connection without a database.
    return is_historical(sender) or getattr(kwargs.get("connection"), "alias", "") == NO_DB_ALIAS


def _read_before(sender: type[Model], kwargs: Mapping[str, Any], columns: frozenset[str]) -> Mapping[str, Any] | None:
    """The stored values, before the change, of those of ``columns`` that it will write.

    Empty for a new row; None when none of them is written, or they cannot be read.
    """
    instance = kwargs["instance"]
    written = sorted(column for column in columns if is_written(instance, column, kwargs))
    if not written:
        return None
    if not pk_text(instance):
        return {}
    try:
        with savepoints.matching_query():
            rows = sender._base_manager.using(kwargs["using"]).filter(pk=instance.pk).values(*written)
            found: list[dict[str, Any]] = list(rows[:1])
    except BaseException as error:
        errors["match"] += 1
        if conf.current().STRICT or savepoints.is_callers(error):
            raise
        logger.error(
            "The values of %s %s before the change cannot be read: %s",
            sender._meta.label,
            pk_text(instance),
            describe(error),
            exc_info=error,
        )
        return None
    return found[0] if found else {}
