"""The prefilter: a cheap test that a signal matches nothing, which is so for most. It runs in the code that saves.

For each rule it picks one necessary condition that is cheap to test: a value in one of the instance's columns, the key
first, or that the signal has a target. In doubt a signal could match, and the matcher decides exactly.
"""

from __future__ import annotations

import copy
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

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


class _Sign(NamedTuple):
    """What must be so for a rule to match: a value of this type in this column; without a column, a target."""

    column: str
    kind: type
    value: Any


_TARGET: Final = _Sign("", str, "")


class Prefilter:
    """The necessary conditions of all rules about the instances of one class."""

    __slots__ = ("_always", "_columns", "_signs", "_target", "_targets")

    def __init__(self, registration: SignalRegistration, rules: Iterable[Rule]) -> None:
        """``rules`` are those of all models that the class counts as."""
        #: The sign of each rule, by its trigger; None where nothing can be seen beforehand. How many have none, and how
        #: many a target. By column: the type of its values, and of how many rules each value is the sign.
        self._signs: dict[int, _Sign | None] = {}
        self._always = self._targets = 0
        self._columns: dict[str, tuple[type, Counter[Any]]] = {}
        self._target = registration.target_argument
        for rule in rules:
            self._add(rule)

    def changed(self, gone: Iterable[Rule], added: Iterable[Rule]) -> Prefilter:
        """Another one, without the rules ``gone``, which are in it, and with those ``added``."""
        other = copy.copy(self)
        other._signs = self._signs.copy()
        other._columns = {column: (kind, wanted.copy()) for column, (kind, wanted) in self._columns.items()}
        for rule in gone:
            other._count(other._signs.pop(rule.trigger_id), -1)
        for rule in added:
            other._add(rule)
        return other

    def _add(self, rule: Rule) -> None:
        sign = self._signs[rule.trigger_id] = _sign_of(rule)
        self._count(sign, 1)

    def _count(self, sign: _Sign | None, number: int) -> None:
        if sign is None:
            self._always += number
        elif sign is _TARGET:
            self._targets += number
        else:
            _, values = self._columns.setdefault(sign.column, (sign.kind, Counter()))
            values[sign.value] += number
            if not values[sign.value]:
                del values[sign.value]
            if not values:
                del self._columns[sign.column]

    def could_match(self, instance: models.Model, kwargs: Mapping[str, Any]) -> bool:
        """Whether a signal about ``instance`` could match one of the rules."""
        if self._always or (self._targets and kwargs.get(self._target) is not None):
            return True
        held = instance.__dict__
        for column, (kind, wanted) in self._columns.items():
            value = held.get(column, _ABSENT)
            if type(value) is not kind or value in wanted:
                return True
        return False


def _sign_of(rule: Rule) -> _Sign | None:
    if rule.action_pk and rule.action_model is not None:
        return _in_column(rule.action_model._meta.pk, rule.action_pk)
    if rule.target:
        return _TARGET
    for test in rule.looked_up:
        if test.column_of_instance:
            return _in_column(test.column_of_instance, test.key())
    return None


def _in_column(field: Any, wanted: Any) -> _Sign | None:
    kind = _kept_by(field)
    try:
        value = field.to_python(wanted)
    except Exception:
        # A project's own field may raise anything. What is in doubt could match.
        return None
    return _Sign(field.attname, kind, value) if kind is not None and type(value) is kind else None


def _kept_by(field: Any) -> type | None:
    """The type of values that ``field`` keeps as they are; None where that is not known."""
    while getattr(field, "remote_field", None) is not None:
        # A foreign key has the type of the field that it refers to.
        field = field.target_field
    return next((found for kind, found in _KEPT if getattr(type(field), "to_python", None) is kind.to_python), None)
