"""The registration of a signal: its verb, its arguments and its senders."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from django.dispatch import Signal

from dsn_core.contracts.naming import check_name, first_line
from dsn_core.exceptions import ContractError, nearest

#: Names that a template's context always has; a signal argument may have them too.
PARTS_OF_ACTIVITY: Final = ("verb", "action_object", "actor_object", "target")


@dataclass(frozen=True)
class SignalRegistration:
    """A signal and its verb: what ``dsn_signals()`` returns and ``register_signal`` makes.

    ``name``           the verb
    ``signal``         the ``django.dispatch.Signal``
    ``provides``       the names of its arguments; None when they are not known, and then a missing one refuses
                       nothing. A mapping also gives their types (None: any), so that conditions on them can be
                       checked: ``{"movie": Movie, "price": Decimal}``
    ``action_object``  the argument that is the action object; by default ``instance``, else the sender
    ``actor_object``   the argument that is the actor; by default ``actor_object``
    ``target``         the argument that is the target; by default ``target``
    ``description``    one line for lists
    ``plain``          names of arguments that sound secret (``token``) but are stored, since messages need them
    """

    name: str
    signal: Signal
    provides: Iterable[str] | None = None
    action_object: str | None = None
    actor_object: str | None = None
    target: str | None = None
    description: str = ""
    plain: Iterable[str] = ()
    # What only signals that come with dsn-core have otherwise: see BuiltInSignal.
    senders: Literal["any", "models", "through"] = field(default="any", init=False, repr=False)
    inherits: bool = field(default=True, init=False, repr=False)
    removes: bool = field(default=False, init=False, repr=False)
    recorded_by: str = field(default="", init=False, repr=False)
    announced_by: str = field(default="", init=False, repr=False)
    only: Mapping[str, frozenset[str]] | None = field(default=None, init=False, repr=False)
    keeps: Callable[[Any, Mapping[str, Any]], Mapping[str, Any]] | None = field(default=None, init=False, repr=False)
    #: The types of the arguments, where they are known.
    types: Mapping[str, type] = field(default_factory=dict, init=False)
    # Computed once: they are used at every signal.
    #: Whether a trigger on it must name a model.
    needs_model: bool = field(default=False, init=False)
    #: The names of the arguments that are the actor object and the target.
    actor_argument: str = field(default="", init=False)
    target_argument: str = field(default="", init=False)

    def __post_init__(self) -> None:
        put = functools.partial(object.__setattr__, self)
        put("needs_model", self.senders != "any")
        put("actor_argument", self.actor_object or "actor_object")
        put("target_argument", self.target or "target")
        check_name(self.name, "the name of a signal")
        if not isinstance(self.signal, Signal):
            raise ContractError(
                f"The signal registered as {self.name!r} is {self.signal!r}; a django.dispatch.Signal is expected."
            )
        if isinstance(self.provides, Mapping):
            put("types", {name: cls for name, cls in self.provides.items() if isinstance(cls, type)})
        for what in ("provides", "plain"):
            if (names := getattr(self, what)) is not None:
                put(what, self._names(what, names))
        parts = {what: getattr(self, what) for what in ("action_object", "actor_object", "target")}
        named = [(what, name) for what, name in parts.items() if name is not None]
        for what, name in (*named, *(("plain", name) for name in self.plain)):
            self._check_name(what, name, self.provides)
        if not self.description:
            put("description", first_line(vars(self.signal).get("__doc__")))

    def _names(self, what: str, names: Iterable[str]) -> tuple[str, ...]:
        if isinstance(names, str):
            raise ContractError(
                f"{what} of the signal {self.name!r} is the text {names!r}; it is a list of names: {what}=[{names!r}]."
            )
        found = tuple(names)
        for name in found:
            self._check_name(what, name)
        return found

    def _check_name(self, what: str, name: object, known: Iterable[str] | None = None) -> None:
        """Raise ``ContractError`` unless ``name`` is that of an argument, and one of ``known`` if these are known."""
        if not isinstance(name, str) or not name:
            raise ContractError(
                f"{what} of the signal {self.name!r} names {name!r}; the name of an argument, such as 'movie', is "
                "expected."
            )
        if known is not None and name not in known:
            raise ContractError(
                f"{what} of the signal {self.name!r} names {name!r}, which it does not provide"
                f"{nearest(name, known)}. Correct the name, or add it to provides."
            )

    @property
    def compares(self) -> bool:
        """Whether conditions can compare values before and after the change."""
        return bool(self.announced_by or self.recorded_by)

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of ``names`` that the signal is known not to provide."""
        if self.provides is None:
            return []
        known = {*self.provides, *PARTS_OF_ACTIVITY, "sender"}
        return [name for name in names if name not in known]


@dataclass(frozen=True)
class BuiltInSignal(SignalRegistration):
    """The same with what only signals of Django need. No part of the public API.

    ``senders``        ``"any"``: connected once, for all senders. ``"models"``: sent with a model
                       class as sender, and connected only for the models that triggers name.
                       ``"through"``: sent with the through model of a many-to-many relation.
    ``inherits``       whether an instance of a multi-table child counts as its parent. Not where
                       Django sends the signal for the parent as well.
    ``removes``        whether the instance is being deleted: its to-many relations are gone when
                       the message is made
    ``recorded_by``    the verb whose signal says that it really happened (``pre_save`` is
                       recorded when ``post_save`` comes)
    ``announced_by``   the verb whose signal comes before the change (``post_save`` is announced by
                       ``pre_save``): conditions can then ask what changed
    ``keeps``          called with the sender and the arguments; returns those that count. For what must
                       not be stored, or only in another form. Must not raise
    ``only``           argument values that count, by name, e.g. ``{"action": {"post_add"}}``, unless
                       a trigger has a condition on that argument
    """

    senders: Literal["any", "models", "through"] = "any"
    inherits: bool = True
    removes: bool = False
    recorded_by: str = ""
    announced_by: str = ""
    only: Mapping[str, frozenset[str]] | None = None
    keeps: Callable[[Any, Mapping[str, Any]], Mapping[str, Any]] | None = None
