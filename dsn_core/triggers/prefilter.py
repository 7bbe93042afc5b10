"""The prefilter: a cheap test that a signal matches nothing, which is so for most. It runs in the code that saves.

For each rule it picks one necessary condition that is cheap to test: a value in one of the instance's columns, the key
first, or that the signal has a target. In doubt a signal could match, and the matcher decides exactly.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import models

from dsn_core.contracts.registrations import SignalRegistration
from dsn_core.triggers.rules import Rule

#: Kinds of fields, with the type of values that they keep as they are, so that conditions compare the instance's value.
_KEPT: Final = (
    (models.BooleanField, bool),
    (models.IntegerField, int),
    (models.CharField, str),
    (models.TextField, str),
    (models.UUIDField, uuid.UUID),
)
_ABSENT: Final = object()


class Prefilter:
    """The necessary conditions of all rules about the instances of one class."""

    __slots__ = ("_always", "_columns", "_has_targets", "_target")

    def __init__(
        self, registration: SignalRegistration, rules: Iterable[tuple[type[models.Model], Iterable[Rule]]]
    ) -> None:
        """``rules`` are those of each model that the class counts as."""
        #: Whether a rule has no condition that can be tested here.
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
    """The type of values that ``field`` keeps as they are; None where that is not known."""
    while getattr(field, "remote_field", None) is not None:
        # A foreign key has the type of the field that it refers to.
        field = field.target_field
    return next((found for kind, found in _KEPT if getattr(type(field), "to_python", None) is kind.to_python), None)
