"""One call of a signal, as it is passed from the signal's receiver to the payload of its events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from django.db.models import Model

from dsn_core.context import acting_user
from dsn_core.contracts.registrations import SignalRegistration
from dsn_core.references import is_concrete, key_text, pk_text
from dsn_core.savepoints import matching_query

_UNKNOWN: Final = object()
#: Marks the missing value of a new row before the change.
NOTHING: Final = object()


class SignalCall:
    """A sent signal: its parts, each computed when it is needed, and the row's values before the change.

    ``before`` are the stored values of the instance's fields before the change, by column: empty for a new row, None
    where no trigger needs them or they could not be read.

    It has the attributes of :class:`~dsn_core.contracts.activities.ActivityView`.
    """

    __slots__ = (
        "_actor", "_target", "action_object", "before", "registration", "sender", "signal_kwargs", "values", "verb",
    )  # fmt: skip

    def __init__(
        self,
        registration: SignalRegistration,
        sender: Any,
        signal_kwargs: Mapping[str, Any],
        before: Mapping[str, Any] | None = None,
    ) -> None:
        self.registration = registration
        #: The registered name of the signal.
        self.verb = registration.name
        self.sender = sender
        keeps, argument = registration.keeps, registration.action_object
        self.signal_kwargs = kwargs = signal_kwargs if keeps is None else keeps(sender, signal_kwargs)
        self.before = before
        instance = kwargs.get(argument or "instance")
        self.action_object: Any = sender if instance is None and argument is None else instance
        self._actor: Any = _UNKNOWN
        self._target: str | None = None
        #: The values of paths that conditions have followed, by path and field: fields convert values differently.
        self.values: dict[tuple[str, Any], Any] = {}

    @property
    def actor_object(self) -> Any:
        """The actor: the signal's argument, else the acting user."""
        if self._actor is _UNKNOWN:
            argument, kwargs = self.registration.actor_argument, self.signal_kwargs
            self._actor = kwargs[argument] if argument in kwargs else acting_user()
        return self._actor

    @property
    def target(self) -> str:
        """The target, as the text that triggers compare."""
        if self._target is None:
            target = self.signal_kwargs.get(self.registration.target_argument)
            self._target = "" if target is None else str(target)
        return self._target

    @property
    def trigger_context(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("verb", "action_object", "actor_object", "target")}

    def models(self) -> Iterator[tuple[type[Model], str, Model | None]]:
        """The models that it is about, each with a key's text (or empty) and the instance, if there is one."""
        action_object, kwargs = self.action_object, self.signal_kwargs
        if isinstance(action_object, Model):
            yield action_object.__class__, pk_text(action_object), action_object
        elif is_concrete(action_object):
            yield action_object, "", None
        if self.registration.senders == "through" and isinstance(other := kwargs.get("model"), type):
            # A change of a relation is about both sides; this is the side that is not the instance.
            yield other, "", None
            for key in kwargs.get("pk_set") or ():
                yield other, key_text(key), None

    def root(self, name: str) -> Any:
        """The part or argument called ``name``, where a path begins. Raises KeyError."""
        return getattr(self, name) if name in _PARTS else self.signal_kwargs[name]

    def change_of(self, column: str) -> tuple[Any, Any] | None:
        """The column's values before the change (:data:`NOTHING` for a new row) and after it.

        None where it was not written, or where the value before is not known.
        """
        if self.before is None or (self.before and column not in self.before):
            return None
        if not is_written(self.action_object, column, self.signal_kwargs):
            return None
        return self.before.get(column, NOTHING), self.now(column)

    def now(self, column: str) -> Any:
        """The column's value after the change: the instance's, or the stored one where the instance has none."""
        instance: Any = self.action_object
        value = instance.__dict__.get(column, NOTHING)
        if value is NOTHING or hasattr(value, "resolve_expression") or _is_generated(instance, column):
            # For example the result of F("count") + 1.
            with matching_query():
                rows = type(instance)._base_manager.using(instance._state.db).filter(pk=instance.pk)
                return rows.values_list(column, flat=True).first()
        return value


_PARTS: Final = frozenset({"verb", "action_object", "actor_object", "target", "sender"})


def is_written(instance: Model, column: str, signal_kwargs: Mapping[str, Any]) -> bool:
    """Whether saving ``instance`` writes ``column``. With deferred fields, ``save()`` sets ``update_fields`` itself."""
    fields = signal_kwargs.get("update_fields")
    if fields is None or column in fields:
        return True
    return instance._meta.get_field(column).name in fields or _is_generated(instance, column)


def _is_generated(instance: Model, column: str) -> bool:
    # The database computes the column's value.
    return bool(getattr(instance._meta.get_field(column), "generated", False))
