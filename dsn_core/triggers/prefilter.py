"""The prefilter: it sees cheaply that a signal matches nothing. Most do not, and it runs in the code that saves.

Of each rule one thing is picked that must be so for it to match, and that costs next to nothing to see: a value in one
of the instance's columns, its key first, or that the signal has a target. What is in doubt could match; whether it
does, the matcher finds exactly.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import models

from dsn_core.contracts.registrations import SignalRegistration
from dsn_core.triggers.rules import Rule

#: The types of values that fields of these kinds leave as they are: the instance holds what conditions compare.
_KEPT: Final = (
    (models.BooleanField, bool),
    (models.IntegerField, int),
    (models.CharField, str),
    (models.TextField, str),
    (models.UUIDField, uuid.UUID),
)
_ABSENT: Final = object()


class Prefilter:
    """What must be so of an instance of one class before any of the rules about it can match."""

    __slots__ = ("_always", "_columns", "_has_targets", "_target")

    def __init__(
        self, registration: SignalRegistration, rules: Iterable[tuple[type[models.Model], Iterable[Rule]]]
    ) -> None:
        """``rules`` are those of each model that the class counts as."""
        #: Whether there is a rule of which nothing can be seen beforehand.
        self._always = False
        self._has_targets = False
        self._target = registration.target_argument
        found: dict[str, tuple[type, set[Any]]] = {}
        for model, group in rules:
            for rule in group:
                self._add(rule, model, found)
        self._columns = tuple((column, kind, wanted) for column, (kind, wanted) in found.items())

    def _add(self, rule: Rule, model: type[models.Model], found: dict[str, tuple[type, set[Any]]]) -> None:
        if rule.action_pk:
            self._pick(found, model._meta.pk, rule.action_pk)
        elif rule.target:
            self._has_targets = True
        elif (looked_up := next((test for test in rule.looked_up if test.column_of_instance), None)) is not None:
            self._pick(found, looked_up.column_of_instance, looked_up.key())
        else:
            self._always = True

    def _pick(self, found: dict[str, tuple[type, set[Any]]], field: Any, wanted: Any) -> None:
        kind = _kept_by(field)
        try:
            value = field.to_python(wanted)
        except (ValidationError, TypeError, ValueError):
            value = None
        if kind is None or type(value) is not kind:
            self._always = True
        else:
            found.setdefault(field.attname, (kind, set()))[1].add(value)

    def could_match(self, instance: models.Model, kwargs: Mapping[str, Any]) -> bool:
        """Whether a signal about ``instance`` could match one of the rules."""
        if self._always or (self._has_targets and kwargs.get(self._target) is not None):
            return True
        held = instance.__dict__
        for column, kind, wanted in self._columns:
            value = held.get(column, _ABSENT)
            if type(value) is not kind or value in wanted:
                return True
        return False


def _kept_by(field: Any) -> type | None:
    """The type of which ``field`` leaves values as they are; None where that is not known."""
    while getattr(field, "remote_field", None) is not None:
        # A key of another row is what it is there.
        field = field.target_field
    return next((found for kind, found in _KEPT if getattr(type(field), "to_python", None) is kind.to_python), None)
