"""The parts of an activity, as used in matching, resolving and rendering."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Activity:
    """A signal that was sent: its verb, the three other parts, its sender and its arguments.

    ``action_object`` and ``actor_object`` are usually model instances, ``target`` is a text;
    ``signal_kwargs`` are the signal's own arguments by name, without ``signal`` and ``sender``.
    """

    verb: str
    action_object: Any = None
    actor_object: Any = None
    target: str = ""
    sender: Any = None
    signal_kwargs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def trigger_context(self) -> dict[str, Any]:
        """The trigger's four parts by name, as message templates and a messenger's ``send`` get them."""
        return {
            "verb": self.verb,
            "action_object": self.action_object,
            "actor_object": self.actor_object,
            "target": self.target,
        }


class ActivityView(Protocol):
    """The attributes of an event that a plugin may use."""

    @property
    def verb(self) -> str: ...
    @property
    def action_object(self) -> Any: ...
    @property
    def actor_object(self) -> Any: ...
    @property
    def target(self) -> str: ...
    @property
    def sender(self) -> Any: ...
    @property
    def signal_kwargs(self) -> Mapping[str, Any]: ...
    @property
    def trigger_context(self) -> dict[str, Any]: ...
