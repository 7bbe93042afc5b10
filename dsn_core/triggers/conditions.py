"""Conditions as matching sees them: followed, compared, looked up."""

from __future__ import annotations

import datetime
import decimal
import enum
import logging
import pathlib
import uuid
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Final

from django.conf import settings
from django.db.models import Model, QuerySet
from django.db.models.fields.files import FieldFile
from django.db.models.manager import BaseManager
from django.utils import timezone
from django.utils.functional import LazyObject, Promise

from dsn_core import conf
from dsn_core.contracts import patterns
from dsn_core.contracts.conditions import Condition
from dsn_core.contracts.paths import walk
from dsn_core.exceptions import ConfigurationError
from dsn_core.models.conditions import clean_one
from dsn_core.models.references import pk_text
from dsn_core.models.subjects import Roots, Subject, subject
from dsn_core.payload.private import may_read
from dsn_core.pipeline import intake
from dsn_core.plugins.loading import describe
from dsn_core.triggers.asking import asking
from dsn_core.triggers.occasions import NOTHING, Occasion

logger = logging.getLogger("dsn_core.triggers")

#: Stands for a value that no dictionary of wanted values can be asked for.
UNKNOWN: Final = object()

_SIMPLE: Final = frozenset({str, int, bool, float, type(None)})
_COLLECTIONS: Final = (set, frozenset, list, tuple, Mapping)


class PathMissing(Exception):
    """A path leads nowhere for this signal."""

    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path}: {reason}")


def missing(error: PathMissing, verb: str, labels: Callable[[], Iterable[str]]) -> None:
    """Count a path that led nowhere, and say it once: a signal that comes often must not fill the log."""
    intake.errors["path"] += 1
    if (verb, error.path) in _said or len(_said) >= MAX_SAID:
        return
    _said.add((verb, error.path))
    logger.warning(
        "Signal %s: the path %r leads nowhere (%s), so that these triggers do not match: %s. "
        "Mend the condition, or have the signal provide it. This is said once in this process.",
        verb,
        error.path,
        error.reason,
        intake.named(labels()),
    )


#: Which paths of which verbs were said to lead nowhere.
_said: set[tuple[str, str]] = set()
MAX_SAID: Final = 1_000


class Test:
    """A condition, ready to be asked of signals."""

    __slots__ = (
        "_holds", "_reads_back", "_searches", "_subject", "_wanted", "column", "compares", "path", "root", "steps",
    )  # fmt: skip

    __test__ = False  # not one of pytest's

    def __init__(self, condition: Condition, roots: Roots) -> None:
        """Raises ``ValidationError`` or ``ConfigurationError`` where the condition cannot work (any more)."""
        condition = clean_one(condition, roots)
        operator = condition.kind_of_operator
        found = subject(condition.path, roots)
        self.path, self.root, self.steps = condition.path, condition.root, found.steps
        self.compares = operator.compares
        #: The column that it compares with what was before.
        self.column = found.steps[-1] if operator.compares else ""
        self._subject = found
        # A column of the instance that is saved: what the database made of it counts.
        self._reads_back = roots.registration.compares and found.field is not None and len(found.steps) == 2
        self._searches = operator.name == "contains"
        self._holds = operator.holds
        self._wanted = _wanted(condition.value, operator.takes, found)

    def holds(self, occasion: Occasion) -> bool:
        """Whether the condition holds. Raises :class:`PathMissing`."""
        if self.compares:
            return self._has_changed(occasion)
        actual = self.value(occasion)
        try:
            if self._searches and isinstance(actual, _COLLECTIONS):
                # Of what kind its items are, each of them says.
                return any(item == _alike(self._wanted, item) for item in map(_plain, actual))
            wanted = self._wanted if self._subject.field is not None else _alike(self._wanted, actual)
            return bool(self._holds(actual, wanted))
        except (TypeError, ValueError, ArithmeticError):
            # A number and a text have no order.
            return False

    def value(self, occasion: Occasion) -> Any:
        """What the path leads to, in a form that can be compared."""
        key = (self.path, self._subject.field)
        if key not in occasion.values:
            try:
                actual = self._follow(occasion)
            except ConfigurationError as error:
                raise PathMissing(self.path, str(error)) from error
            except PathMissing:
                raise
            except Exception as error:
                # A property that raised, a query that failed. Other triggers of the signal are none the worse.
                if conf.current().STRICT or intake.has_lost_a_transaction(error):
                    raise
                raise PathMissing(self.path, describe(error)) from error
            occasion.values[key] = self._comparable(actual)
        return occasion.values[key]

    def _follow(self, occasion: Occasion) -> Any:
        try:
            start = occasion.root(self.steps[0])
        except KeyError:
            raise PathMissing(self.path, f"the signal came without {self.steps[0]!r}") from None
        if start is occasion.action_object and self._reads_back:
            return occasion.now(self.steps[1])
        # Of a path that leads to a known field it was asked when the condition was saved.
        found = _loaded(start, self.steps[1:], is_known=self._subject.field is not None)
        if found is UNKNOWN:
            with asking():
                found = walk(start, self.steps[1:], self.path, may_read=may_read)
        if hasattr(found, "resolve_expression"):
            # Of another object: saved before with F("count") + 1, and not read again since.
            raise PathMissing(self.path, "it is an expression that the database has yet to answer")
        if isinstance(found, BaseManager | QuerySet):
            raise PathMissing(self.path, "it leads to many objects")
        return found

    def _comparable(self, actual: Any) -> Any:
        if type(actual) not in _SIMPLE:
            actual = _plain(actual)
        if self._subject.field is None or actual is None:
            return actual
        try:
            # An instance holds what was assigned to it, be it the text "5" for a number.
            return self._subject.typed(actual)
        except Exception:
            return actual

    def _has_changed(self, occasion: Occasion) -> bool:
        pair = occasion.change_of(self.column)
        if pair is None:
            return False
        if pair[0] is NOTHING:
            # A new row became what it is; it was nothing else before.
            return self.compares == "after" and bool(self._holds(self._comparable(pair[1]), self._wanted))
        field: Any = self._subject.field
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
        return self._subject.field if len(self.steps) == 2 and self.root in ("instance", "action_object") else None

    def key(self) -> Hashable | None:
        """What the path must lead to for the condition to hold, if that is one value that can be looked up."""
        if self._holds is not EQUALS or self.compares:
            return None
        if self._subject.field is None and type(self._wanted) not in (str, bool, int):
            return None
        found: Hashable = self._wanted
        return found

    def key_of(self, occasion: Occasion) -> Any:
        """The same of a signal; :data:`UNKNOWN` where values have to be compared one by one."""
        actual = self.value(occasion)
        if self._subject.field is None and type(actual) not in _SIMPLE:
            return UNKNOWN
        try:
            hash(actual)
        except TypeError:
            return UNKNOWN
        return actual


EQUALS: Final = Condition("", "equals").kind_of_operator.holds


def _wanted(value: Any, takes: str, found: Subject) -> Any:
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


def _plain(value: Any) -> Any:
    if isinstance(value, Model):
        # As the value of a condition is stored.
        return pk_text(value) if isinstance(value.pk, tuple) else _plain(value.pk)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, FieldFile):
        return value.name
    if isinstance(value, Promise | pathlib.PurePath):
        return str(value)
    if isinstance(value, LazyObject):
        return _plain(value.__class__ and value._wrapped)
    return _aware(value) if isinstance(value, datetime.datetime) else value


def _aware(moment: datetime.datetime) -> datetime.datetime:
    return timezone.make_aware(moment) if settings.USE_TZ and timezone.is_naive(moment) else moment


def _alike(wanted: Any, actual: Any) -> Any:
    """``wanted`` as the type that ``actual`` has: nobody knew it when the condition was written."""
    if isinstance(wanted, list):
        return [_alike(item, actual) for item in wanted]
    convert = _CONVERSIONS.get(type(actual))
    if convert is None or type(wanted) is type(actual):
        return wanted
    try:
        return convert(wanted)
    except (ValueError, TypeError, ArithmeticError):
        return wanted


def _datetime(value: Any) -> Any:
    return _aware(datetime.datetime.fromisoformat(value)) if isinstance(value, str) else value


_CONVERSIONS: Final[Mapping[type, Any]] = {
    decimal.Decimal: lambda value: value if isinstance(value, bool) else decimal.Decimal(str(value)),
    uuid.UUID: lambda value: uuid.UUID(str(value)),
    datetime.datetime: _datetime,
    datetime.date: datetime.date.fromisoformat,
    datetime.time: datetime.time.fromisoformat,
}
