"""Conditions as rows hold them: what is refused, and the form in which they are stored."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import math
import uuid
from collections.abc import Iterable
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db.models import ForeignKey, IntegerField, Model
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from dsn_core.contracts import patterns
from dsn_core.contracts.conditions import OPERATORS, Condition, Operator
from dsn_core.exceptions import ConfigurationError
from dsn_core.models.references import pk_text
from dsn_core.models.subjects import Roots, Subject, subject

#: More rows than these on one trigger are a program, and belong into a signal of the project's own.
MAX_CONDITIONS: Final = 20
#: Characters that the rows of one trigger may have altogether.
MAX_LENGTH: Final = 10_000

_FALSE: Final = frozenset({"false", "no", "off", "0"})
_TRUE: Final = frozenset({"true", "yes", "on", "1", ""})


def clean(rows: Any, roots: Roots) -> list[dict[str, Any]]:
    """``rows`` as they are stored: checked, each once. Raises ``ValidationError`` that names each bad row."""
    if isinstance(rows, str) or not isinstance(rows, Iterable):
        raise ValidationError(_("The conditions are a list of rows: path, operator, value."))
    found: list[dict[str, Any]] = []
    refused: list[str] = []
    for number, row in enumerate(rows, start=1):
        text: object = row
        try:
            text = condition = Condition.of(row)
            data = clean_one(condition, roots).as_data()
            if data not in found:
                found.append(data)
        except (ValidationError, ConfigurationError) as error:
            refused += [
                _("Condition %(number)d (%(condition)s): %(reason)s")
                % {"number": number, "condition": text, "reason": reason}
                for reason in reasons(error)
            ]
    if len(found) > MAX_CONDITIONS or len(json.dumps(found)) > MAX_LENGTH:
        refused.append(
            _("A trigger has at most %(rows)d conditions of %(length)d characters together.")
            % {"rows": MAX_CONDITIONS, "length": MAX_LENGTH}
        )
    if refused:
        raise ValidationError(refused)
    return found


def clean_one(condition: Condition, roots: Roots) -> Condition:
    """``condition`` with its value as JSON has it. Raises ``ValidationError`` or ``ConfigurationError``."""
    operator = condition.kind_of_operator
    found = subject(condition.path, roots)
    if operator.compares:
        _check_comparison(condition, found, roots)
    if found.kind not in operator.suits:
        raise ValidationError(
            _("%(operator)r does not suit %(path)s, which holds a value of the kind %(kind)s.")
            % {"operator": operator.name, "path": condition.path, "kind": found.kind}
        )
    return Condition(condition.path, condition.operator, _clean_value(condition.value, operator, found))


def _check_comparison(condition: Condition, found: Subject, roots: Roots) -> None:
    if not roots.registration.compares:
        raise ValidationError(
            _("%(verb)s has no before and after: %(operator)r works with signals of a model being saved.")
            % {"verb": roots.registration.name, "operator": condition.operator}
        )
    instance = {"action_object", roots.registration.action_object or "instance"}
    if len(found.steps) != 2 or found.steps[0] not in instance or found.field is None:
        raise ValidationError(
            _("%(operator)r compares a field of the instance itself with the database: write instance and a field.")
            % {"operator": condition.operator}
        )
    if found.field.primary_key:
        raise ValidationError(
            _("%(path)s is the key: an instance with another key is another one, and %(operator)r could never hold.")
            % {"path": condition.path, "operator": condition.operator}
        )


def _clean_value(value: Any, operator: Operator, found: Subject) -> Any:
    if operator.takes == "nothing":
        if value not in (None, ""):
            raise ValidationError(_("%(operator)r takes no value.") % {"operator": operator.name})
        return None
    if operator.takes == "flag":
        return _flag(value, operator)
    if operator.takes == "pattern":
        if not isinstance(value, str):
            raise ValidationError(_("A pattern is a text."))
        patterns.bounded(value)
        return value
    if operator.takes == "values":
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise ValidationError(_("%(operator)r takes a list of values.") % {"operator": operator.name})
        items = [_clean_scalar(item, found) for item in value]
        if not items:
            raise ValidationError(_("An empty list holds nothing: the condition could never hold."))
        return items
    if operator.takes == "text" or (operator.name == "contains" and found.kind == "text"):
        if not isinstance(value, str) or not value:
            raise ValidationError(_("%(operator)r takes a text.") % {"operator": operator.name})
        return _storable(value)
    return _clean_scalar(value, found)


def _flag(value: Any, operator: Operator) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else None
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValidationError(
        _("%(operator)r takes yes or no, not %(value)r.") % {"operator": operator.name, "value": value}
    )


def _clean_scalar(value: Any, found: Subject) -> Any:
    plain = _plain(_key_for(value, found) if isinstance(value, Model) else value)
    if plain is None:
        raise ValidationError(_("A value is missing. Whether there is one at all, 'is null' asks."))
    if not _suits(plain, found):
        raise ValidationError(_("%(value)r is no value of the kind %(kind)s.") % {"value": plain, "kind": found.kind})
    try:
        typed = found.typed(plain)
    except (ValidationError, ValueError, TypeError, ArithmeticError) as error:
        reason = " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
        raise ValidationError(
            _("%(path)s cannot be %(value)r: %(reason)s")
            % {"path": ".".join(found.steps), "value": plain, "reason": reason}
        ) from error
    if typed is None:
        raise ValidationError(_("%(value)r is no value of the kind %(kind)s.") % {"value": plain, "kind": found.kind})
    choices = None if found.field is None or isinstance(found.field, ForeignKey) else found.field.flatchoices
    if choices and typed not in (known := [choice for choice, _label in choices]):
        raise ValidationError(
            _("%(value)r is none of the choices of %(path)s: %(choices)s.")
            % {"value": plain, "path": ".".join(found.steps), "choices": ", ".join(map(str, known))}
        )
    return plain if found.field is None else _plain(typed)


def _key_for(value: Model, found: Subject) -> Any:
    """What the column of ``found`` holds where it refers to ``value``. Raises ``ValidationError``."""
    field = found.field
    model = None if field is None else field.related_model or (field.model if field.primary_key else None)
    if field is None or not isinstance(model, type):
        return value
    if not isinstance(value, model):
        raise ValidationError(
            _("%(path)s refers to %(wanted)s, and %(value)r is of %(given)s.")
            % {
                "path": ".".join(found.steps),
                "wanted": model._meta.label,
                "value": value,
                "given": value._meta.label,
            }
        )
    return getattr(value, field.target_field.attname if isinstance(field, ForeignKey) else field.attname)


def _suits(plain: Any, found: Subject) -> bool:
    if found.kind == "text":
        return isinstance(plain, str)
    if found.kind == "boolean":
        return isinstance(plain, bool)
    if found.kind == "number":
        # A fraction is not cut off to please a whole number's field.
        whole = isinstance(found.field, IntegerField)
        return not isinstance(plain, bool) and not (whole and isinstance(plain, float) and not plain.is_integer())
    return not (found.kind == "moment" and not isinstance(plain, str))


def _plain(value: Any) -> Any:
    """``value`` as JSON can hold it. Raises ``ValidationError``."""
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, Model):
        return pk_text(value) if isinstance(value.pk, tuple) else _plain(value.pk)
    if isinstance(value, Promise):
        value = str(value)
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal | uuid.UUID | datetime.timedelta):
        return str(value)
    if isinstance(value, str):
        return _storable(str.__str__(value))
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ValidationError(_("%(value)r cannot be the value of a condition.") % {"value": value})


def _storable(text: str) -> str:
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValidationError(_("The text holds characters that a database cannot store."))
    return text


def reasons(error: ValidationError | ConfigurationError) -> list[str]:
    """The sentences of what :func:`clean_one` raised."""
    return error.messages if isinstance(error, ValidationError) else [str(error)]


def in_words(row: Any) -> str:
    """``row`` as people read it, also when it is none."""
    try:
        return str(Condition.of(row))
    except ConfigurationError:
        return repr(row)


def read(path: str, operator: str, text: str, roots: Roots | None) -> Condition:
    """The condition that somebody typed: ``text`` is read as what the path holds, where that is known.

    Where it is not, what JSON can read is that (``5``, ``true``, ``"5"``), and all else is a text.
    """
    condition = Condition.of((path, operator, text))
    try:
        takes = condition.kind_of_operator.takes
        kind = "any" if roots is None else subject(condition.path, roots).kind
    except (ValidationError, ConfigurationError):
        # clean() will say so.
        return condition
    if takes in ("flag", "text", "pattern") or (takes == "nothing" and not text):
        return condition if text else Condition.of((path, operator))
    if takes == "values":
        return Condition(condition.path, condition.operator, _values(text, kind))
    return Condition(condition.path, condition.operator, _value(text, kind))


def _value(text: str, kind: str) -> Any:
    if kind == "text":
        return text
    word = text.strip()
    if kind == "boolean":
        return {**dict.fromkeys(_TRUE - {""}, True), **dict.fromkeys(_FALSE, False)}.get(word.lower(), text)
    if kind in ("any", "collection"):
        try:
            value = json.loads(word)
        except ValueError:
            return text
        return value if isinstance(value, str | bool | int | float) else text
    # Numbers, dates and keys are read by their field.
    return word or None


def _values(text: str, kind: str) -> list[Any]:
    try:
        given = json.loads(text)
    except ValueError:
        given = None
    if isinstance(given, list):
        return given
    return [_value(item.strip(), kind) for item in text.split(",") if item.strip()]


def written(condition: Condition, roots: Roots | None) -> str:
    """The value of ``condition`` as :func:`read` takes it."""
    value = condition.value
    if value is None:
        return ""
    if isinstance(value, bool):
        plain, text = True, "yes" if value else "no"
        if condition.operator in OPERATORS and condition.kind_of_operator.takes == "flag":
            return text
    elif isinstance(value, list):
        plain = all(isinstance(item, str) and item == item.strip() and "," not in item for item in value)
        text = ", ".join(map(str, value))
    else:
        plain, text = True, str(value)
    if plain and read(condition.path, condition.operator, text, roots).value == value:
        return text
    return json.dumps(value, ensure_ascii=False)
