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
    """The event, as resolvers and filters get it: what the signal said, read back from the event's row.

    Reading an attribute costs no query: the row and its payload were read before the plugin is called. An instance of a
    model is what was stored when the signal fired. Following a relation from it (``event.action_object.author``,
    ``event.signal_kwargs["movie"].audiences.all()``) costs a query each time, and reads what the database holds now.
    """

    @property
    def verb(self) -> str:
        """The verb of the signal. No query."""

    @property
    def action_object(self) -> Any:
        """The model instance or class that it is about, or None. No query; its relations cost one each."""

    @property
    def actor_object(self) -> Any:
        """The instance that acted, or None. No query; its relations cost one each."""

    @property
    def target(self) -> str:
        """The target, as a text; may be empty. No query."""

    @property
    def sender(self) -> Any:
        """The sender of the signal: a class, or what is stored of something else. No query."""

    @property
    def signal_kwargs(self) -> Mapping[str, Any]:
        """The signal's own arguments, by name. No query; the relations of an instance cost one each."""

    @property
    def trigger_context(self) -> dict[str, Any]:
        """The verb and the three other parts, by name. No query."""
