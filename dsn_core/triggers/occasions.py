"""One sending of a signal, as matching sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.db.models import Model

from dsn_core.contracts.activities import Activity
from dsn_core.contracts.registrations import SignalRegistration
from dsn_core.models.references import pk_text
from dsn_core.pipeline.context import acting_user

_UNASKED: Final = object()


class Occasion:
    """A sent signal: its parts, found when they are asked for, and what was before it.

    ``before`` is what the database held of the instance's fields before the change, by column; None
    where it held nothing or nobody asked.
    """

    __slots__ = ("_actor", "_pk", "_target", "action_object", "before", "kwargs", "registration", "sender", "values")

    def __init__(
        self,
        registration: SignalRegistration,
        sender: Any,
        kwargs: Mapping[str, Any],
        before: Mapping[str, Any] | None = None,
    ) -> None:
        self.registration = registration
        self.sender = sender
        self.kwargs = kwargs
        self.before = before
        self.action_object = registration.action_object_of(sender, kwargs)
        self._actor: Any = _UNASKED
        self._target: str | None = None
        self._pk: str | None = None
        #: What paths lead to, as far as somebody asked.
        self.values: dict[str, Any] = {}

    @property
    def unusual(self) -> list[str]:
        """The arguments whose value counts for nobody but triggers with a condition on them."""
        only = self.registration.only or {}
        return [name for name, values in only.items() if not any(self.kwargs.get(name) == value for value in values)]

    @property
    def actor_object(self) -> Any:
        """Who did it: as the signal says, else the acting user."""
        if self._actor is _UNASKED:
            argument = self.registration.actor_argument
            self._actor = self.kwargs[argument] if argument in self.kwargs else acting_user()
        return self._actor

    @property
    def target(self) -> str:
        """The target, as the text that triggers compare."""
        if self._target is None:
            target = self.kwargs.get(self.registration.target_argument)
            self._target = "" if target is None else str(target)
        return self._target

    @property
    def pk(self) -> str:
        """The text of the action object's key; empty where it has none."""
        if self._pk is None:
            self._pk = pk_text(self.action_object) if isinstance(self.action_object, Model) else ""
        return self._pk

    def root(self, name: str) -> Any:
        """The part or argument called ``name``. Raises KeyError."""
        if name in _PARTS:
            return getattr(self, name)
        return self.registration.name if name == "verb" else self.kwargs[name]

    def change_of(self, column: str) -> tuple[Any, Any] | None:
        """What the column held before the change and after it; None where there is no before."""
        if self.before is None or column not in self.before:
            return None
        before = self.before[column]
        return before, self._after(column, before)

    def _after(self, column: str, before: Any) -> Any:
        instance: Any = self.action_object
        written = self.kwargs.get("update_fields")
        field = instance._meta.get_field(column)
        if written is not None and field.name not in written and column not in written:
            return before
        if column not in instance.__dict__:
            # Deferred: not loaded, so not written.
            return before
        value = instance.__dict__[column]
        return self.stored(column) if hasattr(value, "resolve_expression") else value

    def stored(self, column: str) -> Any:
        """What the database holds now; of ``F("count") + 1`` only it knows what came out."""
        instance = self.action_object
        rows = type(instance)._base_manager.using(instance._state.db).filter(pk=instance.pk)
        return rows.values_list(column, flat=True).get()

    def activity(self) -> Activity:
        """The same as the pipeline sees it."""
        return Activity(
            self.registration.name, self.action_object, self.actor_object, self.target, self.sender, self.kwargs
        )


_PARTS: Final = frozenset({"action_object", "actor_object", "target", "sender"})
