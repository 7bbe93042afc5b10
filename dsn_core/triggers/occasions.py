"""One sending of a signal, as matching sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.db.models import Model

from dsn_core.contracts.activities import Activity
from dsn_core.contracts.registrations import SignalRegistration
from dsn_core.models.references import pk_text
from dsn_core.pipeline.context import acting_user
from dsn_core.triggers.asking import asking

_UNASKED: Final = object()
#: Stands for what a new row held before.
NOTHING: Final = object()


class Occasion:
    """A sent signal: its parts, found when they are asked for, and what was before it.

    ``before`` is what the database held of the instance's fields before the change, by column: empty
    where it held no such row, None where nobody asked or it could not be read.
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
        self.kwargs = kwargs if registration.keeps is None else registration.keeps(sender, kwargs)
        self.before = before
        self.action_object = registration.action_object_of(sender, self.kwargs)
        self._actor: Any = _UNASKED
        self._target: str | None = None
        self._pk: str | None = None
        #: What paths lead to, as far as somebody asked. The same path is read differently by different fields.
        self.values: dict[tuple[str, Any], Any] = {}

    @property
    def unusual(self) -> list[str]:
        """The arguments whose value counts for nobody but triggers with a condition on them."""
        only = self.registration.only or {}
        kwargs = self.kwargs
        return [name for name, values in only.items() if name in kwargs and kwargs[name] not in values]

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
        """What the column held before the change (:data:`NOTHING` in a new row) and after it.

        None where it was not written, or where nobody knows what was before.
        """
        if self.before is None or (self.before and column not in self.before):
            return None
        if not written(self.action_object, column, self.kwargs):
            return None
        return self.before.get(column, NOTHING), self.now(column)

    def now(self, column: str) -> Any:
        """What the instance's column holds after the change: as the instance says, where it knows."""
        instance: Any = self.action_object
        value = instance.__dict__.get(column, NOTHING)
        if value is NOTHING or hasattr(value, "resolve_expression") or is_generated(instance, column):
            return self._stored(column)
        return value

    def _stored(self, column: str) -> Any:
        """What the database holds; what came of ``F("count") + 1`` only it knows."""
        instance = self.action_object
        with asking():
            rows = type(instance)._base_manager.using(instance._state.db).filter(pk=instance.pk)
            return rows.values_list(column, flat=True).first()

    def activity(self) -> Activity:
        """The same as the pipeline sees it."""
        return Activity(
            self.registration.name, self.action_object, self.actor_object, self.target, self.sender, self.kwargs
        )


_PARTS: Final = frozenset({"action_object", "actor_object", "target", "sender"})


def written(instance: Model, column: str, kwargs: Mapping[str, Any]) -> bool:
    """Whether saving ``instance`` writes ``column``. Of deferred fields, ``save()`` makes ``update_fields`` itself."""
    fields = kwargs.get("update_fields")
    if fields is None or column in fields:
        return True
    return instance._meta.get_field(column).name in fields or is_generated(instance, column)


def is_generated(instance: Model, column: str) -> bool:
    """Whether the database makes the column's value, whatever the instance holds."""
    return bool(getattr(instance._meta.get_field(column), "generated", False))
