"""Conditions as matching sees them: followed, compared, looked up."""

from __future__ import annotations

import datetime
import decimal
import enum
import logging
import uuid
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

from django.conf import settings
from django.db.models import Model
from django.db.models.fields.files import FieldFile
from django.utils import timezone
from django.utils.functional import LazyObject, Promise

from dsn_core.contracts import patterns
from dsn_core.contracts.conditions import Condition
from dsn_core.contracts.paths import walk
from dsn_core.exceptions import ConfigurationError
from dsn_core.models.conditions import clean_one
from dsn_core.models.references import pk_text
from dsn_core.models.subjects import Roots, Subject, subject
from dsn_core.pipeline import intake
from dsn_core.triggers.occasions import Occasion

logger = logging.getLogger("dsn_core.triggers")

#: Stands for a value that no dictionary of wanted values can be asked for.
UNKNOWN: Final = object()

_SIMPLE: Final = frozenset({str, int, bool, float, type(None)})


class PathMissing(Exception):
    """A path leads nowhere for this signal."""

    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path}: {reason}")


def missing(error: PathMissing, verb: str, labels: Sequence[str]) -> None:
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
        intake.named(labels),
    )


#: Which paths of which verbs were said to lead nowhere.
_said: set[tuple[str, str]] = set()
MAX_SAID: Final = 1_000


class Test:
    """A condition, ready to be asked of signals."""

    __slots__ = ("_holds", "_subject", "_wanted", "column", "compares", "path", "root", "steps")

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
        self._holds = operator.holds
        self._wanted = _wanted(condition.value, operator.takes, found)

    def holds(self, occasion: Occasion) -> bool:
        """Whether the condition holds. Raises :class:`PathMissing`."""
        if self.compares:
            return self._has_changed(occasion)
        actual = self.value(occasion)
        wanted = self._wanted if self._subject.field is not None else _alike(self._wanted, actual)
        try:
            return bool(self._holds(actual, wanted))
        except (TypeError, ValueError, ArithmeticError):
            # A number and a text have no order.
            return False

    def value(self, occasion: Occasion) -> Any:
        """What the path leads to, in a form that can be compared."""
        if self.path not in occasion.values:
            actual = self._follow(occasion)
            if hasattr(actual, "resolve_expression"):
                # The instance was saved with F("count") + 1.
                actual = occasion.stored(self.steps[-1]) if self._subject.field and len(self.steps) == 2 else None
            occasion.values[self.path] = self._comparable(actual)
        return occasion.values[self.path]

    def _follow(self, occasion: Occasion) -> Any:
        try:
            start = occasion.root(self.steps[0])
        except KeyError:
            raise PathMissing(self.path, f"the signal came without {self.steps[0]!r}") from None
        try:
            return walk(start, self.steps[1:], self.path)
        except ConfigurationError as error:
            raise PathMissing(self.path, str(error)) from error

    def _comparable(self, actual: Any) -> Any:
        kind = type(actual)
        if kind not in _SIMPLE:
            actual = _plain(actual)
        if self._subject.field is None or actual is None or (kind is type(self._wanted) and kind in _SIMPLE):
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
        field: Any = self._subject.field
        before, after = (None if value is None else field.get_prep_value(value) for value in pair)
        if before == after:
            return False
        if self.compares == "both":
            return True
        return bool(self._holds(self._comparable(pair[0] if self.compares == "before" else pair[1]), self._wanted))

    # Looking up instead of asking one by one

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


def _plain(value: Any) -> Any:
    if isinstance(value, Model):
        return pk_text(value) if isinstance(value.pk, tuple) else value.pk
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, FieldFile):
        return value.name
    if isinstance(value, Promise):
        return str(value)
    if isinstance(value, LazyObject):
        return _plain(value.__class__ and value._wrapped)
    if isinstance(value, datetime.datetime) and timezone.is_naive(value):
        return _aware(value)
    return value


def _aware(moment: datetime.datetime) -> datetime.datetime:
    return timezone.make_aware(moment) if settings.USE_TZ else moment


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
