"""Evaluation of conditions for a signal: paths are followed, values compared or looked up."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

from django.db.models import Model, QuerySet
from django.db.models.manager import BaseManager

from dsn_core import conf, savepoints
from dsn_core.conditions import patterns
from dsn_core.conditions.operators import Condition
from dsn_core.conditions.path_types import PathType, Roots, path_type
from dsn_core.conditions.signal_call import NOTHING, SignalCall
from dsn_core.conditions.validation import clean_one
from dsn_core.conditions.values import alike, plain
from dsn_core.contracts.paths import walk
from dsn_core.exceptions import ConfigurationError
from dsn_core.payload.private import may_read
from dsn_core.plugins.errors import describe

#: Marks a value that cannot be looked up in a dictionary.
UNKNOWN: Final = object()

_SIMPLE: Final = frozenset({str, int, bool, float, type(None)})
_COLLECTIONS: Final = (set, frozenset, list, tuple, Mapping)


class PathMissing(Exception):
    """A path cannot be followed for this signal."""

    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path}: {reason}")


class Test:
    """A condition, prepared for evaluation."""

    __slots__ = (
        "_holds", "_reads_back", "_searches", "_type", "_wanted", "column", "compares", "path", "root", "steps",
    )  # fmt: skip

    __test__ = False  # not one of pytest's

    def __init__(self, condition: Condition, roots: Roots) -> None:
        """Raises ``ValidationError`` or ``ConfigurationError`` where the condition cannot work, or no longer can."""
        condition = clean_one(condition, roots)
        operator = condition.kind_of_operator
        found = path_type(condition.path, roots)
        self.path, self.root, self.steps = condition.path, condition.root, found.steps
        self.compares = operator.compares
        #: The column whose values before and after the change it compares.
        self.column = found.steps[-1] if operator.compares else ""
        self._type = found
        # For a column of the saved instance, the stored value counts.
        self._reads_back = roots.registration.compares and found.field is not None and len(found.steps) == 2
        self._searches = operator.name == "contains"
        self._holds = operator.holds
        self._wanted = _wanted(condition.value, operator.takes, found)

    def holds(self, call: SignalCall) -> bool:
        """Whether the condition holds. Raises :class:`PathMissing`."""
        if self.compares:
            return self._has_changed(call)
        actual = self.value(call)
        try:
            if self._searches and isinstance(actual, _COLLECTIONS):
                # The items may be of different types.
                return any(item == alike(self._wanted, item) for item in map(plain, actual))
            wanted = self._wanted if self._type.field is not None else alike(self._wanted, actual)
            return bool(self._holds(actual, wanted))
        except (TypeError, ValueError, ArithmeticError):
            # For example a number and a text, which have no order.
            return False

    def value(self, call: SignalCall) -> Any:
        """The value at the end of the path, in a form that can be compared."""
        key = (self.path, self._type.field)
        if key not in call.values:
            try:
                actual = self._follow(call)
            except ConfigurationError as error:
                raise PathMissing(self.path, str(error)) from error
            except PathMissing:
                raise
            except BaseException as error:
                # A property that raised, or a query that failed. Other triggers of the signal are not affected.
                if conf.current().STRICT or savepoints.is_callers(error):
                    raise
                raise PathMissing(self.path, describe(error)) from error
            call.values[key] = self._comparable(actual)
        return call.values[key]

    def _follow(self, call: SignalCall) -> Any:
        try:
            start = call.root(self.steps[0])
        except KeyError:
            raise PathMissing(self.path, f"the signal came without {self.steps[0]!r}") from None
        if start is call.action_object and self._reads_back:
            return call.now(self.steps[1])
        # For a path to a known field, sensitive steps were refused when the condition was saved.
        found = _loaded(start, self.steps[1:], is_known=self._type.field is not None)
        if found is UNKNOWN:
            with savepoints.matching_query():
                found = walk(start, self.steps[1:], self.path, may_read=may_read)
        if hasattr(found, "resolve_expression"):
            # On another object: saved with F("count") + 1, and not read again since.
            raise PathMissing(self.path, "it is a database expression whose value was not read")
        if isinstance(found, BaseManager | QuerySet):
            raise PathMissing(self.path, "it leads to many objects")
        return found

    def _comparable(self, actual: Any) -> Any:
        if type(actual) not in _SIMPLE:
            actual = plain(actual)
        if self._type.field is None or actual is None:
            return actual
        try:
            # An instance holds the assigned value, for example the text "5" for a number.
            return self._type.typed(actual)
        except Exception:
            return actual

    def _has_changed(self, call: SignalCall) -> bool:
        pair = call.change_of(self.column)
        if pair is None:
            return False
        if pair[0] is NOTHING:
            # A new row has no value before the change.
            return self.compares == "after" and bool(self._holds(self._comparable(pair[1]), self._wanted))
        field: Any = self._type.field
        before, after = (None if value is None else field.get_prep_value(value) for value in pair)
        if before == after:
            return False
        if self.compares == "both":
            return True
        return bool(self._holds(self._comparable(pair[0] if self.compares == "before" else pair[1]), self._wanted))

    # Lookup in dictionaries instead of evaluation one by one

    @property
    def column_of_instance(self) -> Any:
        """The field, if the path leads to a field of the action object itself; else None."""
        return self._type.field if len(self.steps) == 2 and self.root in ("instance", "action_object") else None

    def key(self) -> Hashable | None:
        """The only value for which the condition holds, if there is one and it can be looked up."""
        if self._holds is not EQUALS or self.compares:
            return None
        if self._type.field is None and type(self._wanted) not in (str, bool, int):
            return None
        found: Hashable = self._wanted
        return found

    def key_of(self, call: SignalCall) -> Any:
        """The value of a signal, to be compared with :meth:`key`; :data:`UNKNOWN` where that is not possible."""
        actual = self.value(call)
        if self._type.field is None and type(actual) not in _SIMPLE:
            return UNKNOWN
        try:
            hash(actual)
        except TypeError:
            return UNKNOWN
        return actual


EQUALS: Final = Condition("", "equals").kind_of_operator.holds


def _wanted(value: Any, takes: str, found: PathType) -> Any:
    if takes == "pattern":
        return patterns.bounded(value)
    if takes == "values":
        return [found.typed(item) for item in value]
    return found.typed(value) if takes == "value" else value


def _loaded(start: Any, steps: Sequence[str], *, is_known: bool) -> Any:
    """The value that ``steps`` lead to among loaded values; :data:`UNKNOWN` where a query or property is needed."""
    value = start
    for step in steps:
        if value is None:
            return None
        if not is_known and not may_read(value, step):
            # walk() raises the error.
            return UNKNOWN
        if issubclass(type(value), Model):
            held, related = value.__dict__, value._state.fields_cache
            if step not in held and step not in related:
                return UNKNOWN
            value = held[step] if step in held else related[step]
        elif isinstance(value, Mapping) and step in value:
            value = value[step]
        else:
            return UNKNOWN
    return value
