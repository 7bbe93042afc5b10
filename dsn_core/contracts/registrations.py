"""What dsn-core knows of a signal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from django.dispatch import Signal

from dsn_core.contracts.naming import check_name, first_line
from dsn_core.exceptions import ContractError

#: Names that a template's context always has; a signal argument may carry them too.
PARTS_OF_ACTIVITY: Final = ("verb", "action_object", "actor_object", "target")


@dataclass(frozen=True)
class SignalRegistration:
    """A signal and its verb: what ``dsn_signals()`` returns and ``register_signal`` makes.

    ``name``           the verb
    ``signal``         the ``django.dispatch.Signal``
    ``provides``       the names of its arguments; None when they are not known, and then nothing
                       is refused for a lack of them
    ``action_object``  the argument that is the action object; by default ``instance``, else the sender
    ``actor_object``   the argument that is the actor; by default ``actor_object``
    ``target``         the argument that is the target; by default ``target``
    ``description``    one line for lists

    The others are for signals that concern models:

    ``senders``        ``"any"``: connected once, for all senders. ``"models"``: sent with a model
                       class as sender, and connected only for the models that triggers name.
                       ``"through"``: sent with the through model of a many-to-many relation.
    ``inherits``       whether an instance of a multi-table child counts as its parent. Not where
                       Django sends the signal for the parent as well.
    ``removes``        whether the instance is being deleted: its to-many relations are gone when
                       the message is made
    ``recorded_by``    the verb whose signal says that it really happened (``pre_save`` is
                       recorded when ``post_save`` comes)
    ``only``           argument values that count, by name, e.g. ``{"action": {"post_add"}}``
    """

    name: str
    signal: Signal
    provides: Iterable[str] | None = None
    action_object: str | None = None
    actor_object: str | None = None
    target: str | None = None
    description: str = ""
    senders: Literal["any", "models", "through"] = "any"
    inherits: bool = True
    removes: bool = False
    recorded_by: str = ""
    only: Mapping[str, frozenset[str]] | None = None

    def __post_init__(self) -> None:
        check_name(self.name, "the name of a signal")
        if not isinstance(self.signal, Signal):
            raise ContractError(
                f"The signal registered as {self.name!r} is {self.signal!r}; a django.dispatch.Signal is expected."
            )
        if self.provides is not None:
            if isinstance(self.provides, str):
                raise ContractError(
                    f"provides of the signal {self.name!r} is the text {self.provides!r}; "
                    f"it is a list of names: provides=[{self.provides!r}]."
                )
            object.__setattr__(self, "provides", tuple(self.provides))
        if not self.description:
            object.__setattr__(self, "description", first_line(vars(self.signal).get("__doc__")))

    @property
    def needs_model(self) -> bool:
        """Whether a trigger on it must name a model."""
        return self.senders != "any"

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of ``names`` that the signal is known not to provide."""
        if self.provides is None:
            return []
        known = {*self.provides, *PARTS_OF_ACTIVITY, "sender"}
        return [name for name in names if name not in known]

    def parts(self, sender: Any, kwargs: Mapping[str, Any]) -> tuple[Any, Any, str]:
        """The action object, the actor object and the target that a sent signal carries."""
        if self.action_object is not None:
            action_object = kwargs.get(self.action_object)
        else:
            action_object = kwargs["instance"] if kwargs.get("instance") is not None else sender
        actor_object = kwargs.get(self.actor_object or "actor_object")
        target = kwargs.get(self.target or "target")
        return action_object, actor_object, "" if target is None else str(target)
