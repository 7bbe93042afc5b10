"""Dispatch: matches a received signal, and passes the matches to the intake."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.db.models import Model

from dsn_core import conf, savepoints
from dsn_core.conditions.signal_call import SignalCall, is_written
from dsn_core.context import is_muted
from dsn_core.contracts.registrations import SignalRegistration
from dsn_core.exceptions import UnknownName
from dsn_core.intake import record as intake
from dsn_core.intake.trouble import errors
from dsn_core.plugins.catalogue import catalogue
from dsn_core.plugins.errors import describe
from dsn_core.references import pk_text
from dsn_core.triggers.cache import TriggerCache
from dsn_core.triggers.connections import Connections

logger = logging.getLogger("dsn_core.triggers")


class SignalDispatcher:
    """Takes signals from their receivers. See :class:`~dsn_core.triggers.signal_receivers.Dispatcher`."""

    def __init__(self) -> None:
        self.cache = TriggerCache(Connections(self).connect)

    def is_known(self) -> bool:
        """Whether the triggers were read, for this thread's connection."""
        return self.cache.matcher() is not None

    def read_first(self) -> None:
        """Read the triggers, if they were not read yet."""
        self.cache.known()

    def could_match(self, registration: SignalRegistration, instance: Model, kwargs: Mapping[str, Any]) -> bool:
        """Whether a signal about ``instance`` could match anything. Cheap; False is certain, True is not."""
        matcher = self.cache.matcher()
        try:
            return matcher is not None and matcher.prefilter(registration, instance.__class__).could_match(
                instance, kwargs
            )
        except Exception:
            # Exact matching meets the same error, and reports it.
            return True

    def receive(self, call: SignalCall) -> None:
        """Record an event for each trigger that ``call`` matches."""
        # "using" is the changed database in signals of models only; in others it may mean anything.
        source = call.signal_kwargs.get("using") if call.registration.needs_model else None
        matched = self._match(call)
        if matched.triggers:
            intake.record([matched], source=source)

    def receive_many(self, calls: Iterable[SignalCall], *, source: str | None) -> list[uuid.UUID | None]:
        """Record the matches of all ``calls`` with one INSERT; return their occurrences, None without a match."""
        return intake.record([self._match(call) for call in calls], source=source)

    def _match(self, call: SignalCall) -> intake.Match:
        matcher = self.cache.known()
        if matcher is None:
            return intake.Match(call, ())
        try:
            return intake.Match(call, matcher.match(call))
        except BaseException as error:
            errors["match"] += 1
            if conf.current().STRICT or savepoints.is_callers(error):
                raise
            logger.error("Signal %s could not be matched: %s", call.verb, describe(error), exc_info=error)
            return intake.Match(call, ())

    def read_before(
        self, sender: type[Model], kwargs: Mapping[str, Any], columns: frozenset[str]
    ) -> Mapping[str, Any] | None:
        """The stored values, before the change, of those of ``columns`` that it will write.

        Empty for a new row; None when none of them is written, or they cannot be read.
        """
        instance = kwargs["instance"]
        columns = frozenset(column for column in columns if is_written(instance, column, kwargs))
        if not columns:
            return None
        if not pk_text(instance):
            return {}
        try:
            with savepoints.matching_query():
                rows = sender._base_manager.using(kwargs["using"]).filter(pk=instance.pk).values(*sorted(columns))
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


dispatcher: Final = SignalDispatcher()
#: The triggers in this process.
trigger_cache: Final = dispatcher.cache


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
    if not isinstance(verb, str):
        raise TypeError(f"emit() takes the name of a registered signal as a text, not {type(verb).__name__}.")
    action_objects = list(action_objects)
    nothing: list[uuid.UUID | None] = [None for _ in action_objects]
    try:
        registration = catalogue.get(verb)
    except UnknownName as error:
        if conf.current().STRICT:
            raise
        logger.error("emit(%r) does nothing: %s", verb, error)
        return nothing
    if is_muted() or not action_objects:
        return nothing
    calls = []
    for action_object in action_objects:
        # A class is no instance: unless the registration names an argument for it, it is the sender.
        is_sender = registration.action_object is None and isinstance(action_object, type)
        named = {
            registration.action_object or "instance": None if is_sender else action_object,
            registration.actor_argument: actor_object,
            registration.target_argument: target or None,
        }
        kwargs = {**{name: value for name, value in named.items() if value is not None}, **signal_kwargs}
        if using is not None:
            kwargs["using"] = using
        calls.append(SignalCall(registration, _sender_of(action_object), kwargs))
    return dispatcher.receive_many(calls, source=using)


def _sender_of(action_object: Any) -> Any:
    return action_object if action_object is None or isinstance(action_object, type) else type(action_object)
