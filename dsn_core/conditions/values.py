"""Values of conditions: their conversion to plain values, and to the types that they are compared with."""

from __future__ import annotations

import datetime
import decimal
import enum
import pathlib
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from django.conf import settings
from django.db.models import Model
from django.db.models.fields.files import FieldFile
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime, parse_duration, parse_time
from django.utils.functional import LazyObject, Promise
from django.utils.translation import gettext as _

from dsn_core.conditions.operators import Kind
from dsn_core.references import pk_text


def plain(value: Any) -> Any:
    """``value`` in a form that can be compared: an instance as its key, an enum as its value, a datetime as aware."""
    if isinstance(value, Model):
        return pk_text(value) if isinstance(value.pk, tuple) else plain(value.pk)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, FieldFile):
        return value.name
    if isinstance(value, Promise | pathlib.PurePath):
        return str(value)
    if isinstance(value, LazyObject):
        return plain(value.__class__ and value._wrapped)
    return aware(value) if isinstance(value, datetime.datetime) else value


def aware(moment: datetime.datetime) -> datetime.datetime:
    """``moment`` in a time zone, if the project uses time zones."""
    return timezone.make_aware(moment) if settings.USE_TZ and timezone.is_naive(moment) else moment


#: Conversions of a condition's plain value to the type that it is compared with.
CONVERSIONS: Final[Mapping[type, Callable[[Any], Any]]] = {
    decimal.Decimal: lambda value: value if isinstance(value, bool) else decimal.Decimal(str(value)),
    uuid.UUID: lambda value: uuid.UUID(str(value)),
    datetime.datetime: lambda value: aware(datetime.datetime.fromisoformat(value)) if isinstance(value, str) else value,
    datetime.date: datetime.date.fromisoformat,
    datetime.time: datetime.time.fromisoformat,
}


def alike(wanted: Any, actual: Any) -> Any:
    """``wanted`` converted to the type of ``actual``, which was not known when the condition was written."""
    if isinstance(wanted, list):
        return [alike(item, actual) for item in wanted]
    convert = CONVERSIONS.get(type(actual))
    if convert is None or type(wanted) is type(actual):
        return wanted
    try:
        return convert(wanted)
    except (ValueError, TypeError, ArithmeticError):
        return wanted


def of_kind(value: Any, kind: Kind) -> Any:
    """``value`` converted for comparison with a signal's argument of that kind. Raises ValueError."""
    if not isinstance(value, str):
        return value
    if kind == "number":
        return decimal.Decimal(value)
    if kind == "key":
        return CONVERSIONS[uuid.UUID](value)
    if kind != "moment":
        return value
    for parse in (parse_datetime, parse_date, parse_time, parse_duration):
        if (found := parse(value)) is not None:
            return found
    raise ValueError(_("it is no date, time or duration"))
