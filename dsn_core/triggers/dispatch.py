"""The triggers in this process, and the changes for which Django sends no signal."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Final

from dsn_core import conf
from dsn_core.conditions.signal_call import SignalCall
from dsn_core.context import is_muted
from dsn_core.exceptions import UnknownName
from dsn_core.intake import record as intake
from dsn_core.plugins.catalogue import catalogue
from dsn_core.triggers.connections import Connections

logger = logging.getLogger("dsn_core.triggers")

#: The triggers in this process.
trigger_cache: Final = Connections().cache


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
    matches = []
    for action_object in action_objects:
        is_class = isinstance(action_object, type)
        named = {
            # A class is no instance: unless the registration names an argument for it, it is the sender.
            registration.action_object or "instance": (
                None if is_class and registration.action_object is None else action_object
            ),
            registration.actor_argument: actor_object,
            registration.target_argument: target or None,
        }
        kwargs = {**{name: value for name, value in named.items() if value is not None}, **signal_kwargs}
        if using is not None:
            kwargs["using"] = using
        sender = action_object if action_object is None or is_class else type(action_object)
        call = SignalCall(registration, sender, kwargs)
        matches.append(intake.Match(call, trigger_cache.match(call)))
    return intake.record(matches, source=using)
