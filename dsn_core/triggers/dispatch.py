"""Dispatch: a received signal is matched, and what it matches is handed to the intake."""

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
    """What the receivers of signals hand them to. See :class:`~dsn_core.triggers.signal_receivers.Dispatcher`."""

    def __init__(self) -> None:
        self.cache = TriggerCache(Connections(self).connect)

    def is_known(self) -> bool:
        """Whether the triggers were read, as this thread's connection sees them."""
        return self.cache.matcher() is not None

    def read_first(self) -> None:
        """Have the triggers read, if they were not."""
        self.cache.known()

    def could_match(self, registration: SignalRegistration, instance: Model, kwargs: Mapping[str, Any]) -> bool:
        """Whether a signal about ``instance`` could match anything: cheap, and never a wrong no."""
        matcher = self.cache.matcher()
        try:
            return matcher is not None and matcher.prefilter(registration, instance.__class__).could_match(
                instance, kwargs
            )
        except Exception:
            # Exact matching will meet it again, and say so.
            return True

    def receive(self, call: SignalCall) -> None:
        """Record what ``call`` matches."""
        # Only signals of models say with "using" where the change was made; elsewhere it may mean anything.
        source = call.signal_kwargs.get("using") if call.registration.needs_model else None
        matched = self._match(call)
        if matched.triggers:
            intake.record([matched], source=source)

    def receive_many(self, calls: Iterable[SignalCall], *, source: str | None) -> list[uuid.UUID | None]:
        """Record what each of ``calls`` matches, by one INSERT; return their occurrences, None where nothing was."""
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
        """What the database holds of those of ``columns`` that the change will write, before it is made.

        Empty where there is no such row yet; None where none of them is written, or they cannot be read.
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
                "What %s %s was before cannot be read: %s",
                sender._meta.label,
                pk_text(instance),
                describe(error),
                exc_info=error,
            )
            return None
        return found[0] if found else {}


dispatcher: Final = SignalDispatcher()
#: What this process knows of the triggers.
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
        raise TypeError(f"emit() takes the name of a registered signal, a text; it was given {type(verb).__name__}.")
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
        calls.append(SignalCall(registration, _sender_of(action_object), kwargs))
    return dispatcher.receive_many(calls, source=using)


def _sender_of(action_object: Any) -> Any:
    return action_object if action_object is None or isinstance(action_object, type) else type(action_object)
