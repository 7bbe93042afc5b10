"""Evaluation: conditions as matching asks them of a signal: followed, compared, looked up."""

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

#: Stands for a value that cannot be looked up in a dictionary.
UNKNOWN: Final = object()

_SIMPLE: Final = frozenset({str, int, bool, float, type(None)})
_COLLECTIONS: Final = (set, frozenset, list, tuple, Mapping)


class PathMissing(Exception):
    """A path leads nowhere for this signal."""

    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path}: {reason}")


class Test:
    """A condition, ready to be asked of signals."""

    __slots__ = (
        "_holds", "_reads_back", "_searches", "_type", "_wanted", "column", "compares", "path", "root", "steps",
    )  # fmt: skip

    __test__ = False  # not one of pytest's

    def __init__(self, condition: Condition, roots: Roots) -> None:
        """Raises ``ValidationError`` or ``ConfigurationError`` where the condition cannot work (any more)."""
        condition = clean_one(condition, roots)
        operator = condition.kind_of_operator
        found = path_type(condition.path, roots)
        self.path, self.root, self.steps = condition.path, condition.root, found.steps
        self.compares = operator.compares
        #: The column that it compares with what was before.
        self.column = found.steps[-1] if operator.compares else ""
        self._type = found
        # A column of the instance that is saved: what the database made of it counts.
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
                # Of what kind its items are, each of them says.
                return any(item == alike(self._wanted, item) for item in map(plain, actual))
            wanted = self._wanted if self._type.field is not None else alike(self._wanted, actual)
            return bool(self._holds(actual, wanted))
        except (TypeError, ValueError, ArithmeticError):
            # A number and a text have no order.
            return False

    def value(self, call: SignalCall) -> Any:
        """What the path leads to, in a form that can be compared."""
        key = (self.path, self._type.field)
        if key not in call.values:
            try:
                actual = self._follow(call)
            except ConfigurationError as error:
                raise PathMissing(self.path, str(error)) from error
            except PathMissing:
                raise
            except BaseException as error:
                # A property that raised, a query that failed. Other triggers of the signal are none the worse.
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
        # Of a path that leads to a known field it was asked when the condition was saved.
        found = _loaded(start, self.steps[1:], is_known=self._type.field is not None)
        if found is UNKNOWN:
            with savepoints.matching_query():
                found = walk(start, self.steps[1:], self.path, may_read=may_read)
        if hasattr(found, "resolve_expression"):
            # Of another object: saved before with F("count") + 1, and not read again since.
            raise PathMissing(self.path, "it is an expression that the database has yet to answer")
        if isinstance(found, BaseManager | QuerySet):
            raise PathMissing(self.path, "it leads to many objects")
        return found

    def _comparable(self, actual: Any) -> Any:
        if type(actual) not in _SIMPLE:
            actual = plain(actual)
        if self._type.field is None or actual is None:
            return actual
        try:
            # An instance holds what was assigned to it, be it the text "5" for a number.
            return self._type.typed(actual)
        except Exception:
            return actual

    def _has_changed(self, call: SignalCall) -> bool:
        pair = call.change_of(self.column)
        if pair is None:
            return False
        if pair[0] is NOTHING:
            # A new row became what it is; it was nothing else before.
            return self.compares == "after" and bool(self._holds(self._comparable(pair[1]), self._wanted))
        field: Any = self._type.field
        before, after = (None if value is None else field.get_prep_value(value) for value in pair)
        if before == after:
            return False
        if self.compares == "both":
            return True
        return bool(self._holds(self._comparable(pair[0] if self.compares == "before" else pair[1]), self._wanted))

    # Looking up instead of asking one by one

    @property
    def column_of_instance(self) -> Any:
        """The field of the action object itself that the path leads to; None where it leads elsewhere."""
        return self._type.field if len(self.steps) == 2 and self.root in ("instance", "action_object") else None

    def key(self) -> Hashable | None:
        """What the path must lead to for the condition to hold, if that is one value that can be looked up."""
        if self._holds is not EQUALS or self.compares:
            return None
        if self._type.field is None and type(self._wanted) not in (str, bool, int):
            return None
        found: Hashable = self._wanted
        return found

    def key_of(self, call: SignalCall) -> Any:
        """The same of a signal; :data:`UNKNOWN` where values have to be compared one by one."""
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
    """What ``steps`` lead to by what is there already; :data:`UNKNOWN` where somebody has to be asked."""
    value = start
    for step in steps:
        if value is None:
            return None
        if not is_known and not may_read(value, step):
            # The walk says so.
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
