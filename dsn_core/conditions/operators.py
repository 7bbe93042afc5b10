"""Operators, and the condition that uses one: data, never code.

A condition is a path, an operator from :data:`OPERATORS`, and a value that JSON can hold.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from dsn_core.exceptions import ConfigurationError, UnknownName

#: The kind of value that a path leads to. ``any``: known only when a signal is sent.
Kind = Literal["text", "number", "moment", "boolean", "key", "collection", "opaque", "any"]

_ALL: Final[frozenset[Kind]] = frozenset({"text", "number", "moment", "boolean", "key", "collection", "opaque", "any"})
_PLAIN: Final[frozenset[Kind]] = frozenset({"text", "number", "moment", "boolean", "key", "any"})
_ORDERED: Final[frozenset[Kind]] = frozenset({"text", "number", "moment", "any"})


@dataclass(frozen=True)
class Operator:
    """One way to compare.

    ``takes``   its operand: one plain ``value``, a list of ``values``, a ``flag`` (true when left out), a regular
                expression (``pattern``), a ``text``, or ``nothing``
    ``suits``   the kinds of values that it can be applied to
    ``holds``   called with the actual and the wanted value; where ``compares`` is ``before`` or ``after``, with the
                actual value of that moment
    ``compares``  whether it needs the stored value before the change
    """

    name: str
    takes: Literal["value", "values", "flag", "pattern", "text", "nothing"]
    suits: frozenset[Kind]
    holds: Callable[[Any, Any], bool]
    compares: Literal["", "both", "before", "after"] = ""


def _contains(actual: Any, wanted: Any) -> bool:
    if isinstance(actual, str):
        return isinstance(wanted, str) and wanted in actual
    return wanted in actual


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    # NULL is neither greater nor less than anything, as in SQL.
    return lambda actual, wanted: actual is not None and compare(actual, wanted)


def _matches(actual: str, pattern: Any) -> bool:
    return bool(pattern.search(actual))


def _of_text(compare: Callable[[str, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda actual, wanted: isinstance(actual, str) and compare(actual, wanted)


#: Every operator, by the name that rows store.
OPERATORS: Final[Mapping[str, Operator]] = {
    item.name: item
    for item in (
        Operator("equals", "value", _PLAIN, operator.eq),
        Operator("not", "value", _PLAIN, operator.ne),
        Operator("in", "values", _PLAIN, lambda actual, wanted: actual in wanted),
        Operator("contains", "value", frozenset({"text", "collection", "any"}), _contains),
        Operator("starts with", "text", frozenset({"text", "any"}), _of_text(str.startswith)),
        Operator("greater", "value", _ORDERED, _ordered(operator.gt)),
        Operator("at least", "value", _ORDERED, _ordered(operator.ge)),
        Operator("less", "value", _ORDERED, _ordered(operator.lt)),
        Operator("at most", "value", _ORDERED, _ordered(operator.le)),
        Operator("is null", "flag", _ALL, lambda actual, wanted: (actual is None) is wanted),
        Operator("is true", "flag", frozenset({"boolean", "any"}), lambda actual, wanted: bool(actual) is wanted),
        Operator("matches", "pattern", frozenset({"text", "any"}), _of_text(_matches)),
        Operator("changed", "nothing", _ALL, lambda actual, wanted: True, compares="both"),
        Operator("changed from", "value", _PLAIN, operator.eq, compares="before"),
        Operator("changed to", "value", _PLAIN, operator.eq, compares="after"),
    )
}


@dataclass(frozen=True)
class Condition:
    """One condition: ``operator`` compares the value at the end of ``path`` with ``value``.

    ``path`` begins with an argument of the signal or a part of the activity, followed by attributes, fields, relations
    to one object and keys: ``created``, ``instance.director.name``.
    ``value`` is None, a boolean, a number, a text, or a list of those, as :attr:`Operator.takes` says.
    """

    path: str
    operator: str
    value: Any = None

    @classmethod
    def of(cls, row: Any) -> Condition:
        """Make a condition of ``row``: a condition, ``(path, operator)``, ``(path, operator, value)`` or a mapping.

        A flag that is left out is true. Raises :class:`~dsn_core.exceptions.ConfigurationError`.
        """
        if isinstance(row, Condition):
            path, name, value = row.path, row.operator, row.value
        elif isinstance(row, Mapping) and {"path", "operator"} <= set(row) <= {"path", "operator", "value"}:
            path, name, value = row["path"], row["operator"], row.get("value")
        elif isinstance(row, list | tuple) and len(row) in (2, 3):
            path, name, value = (*row, None)[:3]
        else:
            raise ConfigurationError(f"{row!r} is no condition: give a path, an operator and a value.")
        if not isinstance(path, str) or not isinstance(name, str):
            raise ConfigurationError(f"{row!r} is no condition: its path and its operator are texts.")
        found = cls(path.strip(), " ".join(name.split()).lower(), value)
        if value is None and found.operator in OPERATORS and found.kind_of_operator.takes == "flag":
            return cls(found.path, found.operator, True)
        return found

    @property
    def kind_of_operator(self) -> Operator:
        """Its entry in :data:`OPERATORS`; raises :class:`~dsn_core.exceptions.UnknownName`."""
        try:
            return OPERATORS[self.operator]
        except KeyError:
            raise UnknownName(
                "operator", self.operator, OPERATORS, advice=f"The operators are {', '.join(OPERATORS)}."
            ) from None

    @property
    def root(self) -> str:
        return self.path.partition(".")[0]

    def as_data(self) -> dict[str, Any]:
        return {"path": self.path, "operator": self.operator, "value": self.value}

    def __str__(self) -> str:
        takes = OPERATORS[self.operator].takes if self.operator in OPERATORS else "value"
        if takes == "nothing" or (takes == "flag" and self.value is True):
            return f"{self.path} {self.operator}"
        if takes == "flag":
            return f"{self.path} {self.operator}: no"
        return f"{self.path} {self.operator} {self.value!r}"
