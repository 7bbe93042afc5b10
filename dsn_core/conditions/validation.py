"""Validation of conditions, and the form in which rows hold them."""

from __future__ import annotations

import datetime
import decimal
import json
import math
import uuid
from collections.abc import Iterable
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db.models import ForeignKey, IntegerField, Model
from django.utils.translation import gettext as _

from dsn_core.conditions import patterns
from dsn_core.conditions.operators import Condition, Operator
from dsn_core.conditions.path_types import PathType, Roots, path_type
from dsn_core.conditions.values import plain
from dsn_core.exceptions import ConfigurationError

#: Conditions of one trigger, at most. Larger rules belong into a custom signal.
MAX_CONDITIONS: Final = 20
#: Characters of all conditions of one trigger, at most.
MAX_LENGTH: Final = 10_000

FALSE_WORDS: Final = frozenset({"false", "no", "off", "0"})
TRUE_WORDS: Final = frozenset({"true", "yes", "on", "1", ""})


def clean(rows: Any, roots: Roots) -> list[dict[str, Any]]:
    """``rows`` in the form to store: checked, without duplicates. Raises ``ValidationError`` for all bad rows."""
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
    """``condition`` with its value in JSON's types. Raises ``ValidationError`` or ``ConfigurationError``."""
    operator = condition.kind_of_operator
    found = path_type(condition.path, roots)
    if operator.compares:
        _check_comparison(condition, found, roots)
    if found.kind not in operator.suits:
        raise ValidationError(
            _("%(operator)r does not suit %(path)s, which holds a value of the kind %(kind)s.")
            % {"operator": operator.name, "path": condition.path, "kind": found.kind}
        )
    return Condition(condition.path, condition.operator, _clean_value(condition.value, operator, found))


def _check_comparison(condition: Condition, found: PathType, roots: Roots) -> None:
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
            _("%(path)s is the key, which never changes for an instance: %(operator)r could never hold.")
            % {"path": condition.path, "operator": condition.operator}
        )


def _clean_value(value: Any, operator: Operator, found: PathType) -> Any:
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
            raise ValidationError(_("The list is empty: the condition could never hold."))
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
    if word in TRUE_WORDS:
        return True
    if word in FALSE_WORDS:
        return False
    raise ValidationError(
        _("%(operator)r takes yes or no, not %(value)r.") % {"operator": operator.name, "value": value}
    )


def _clean_scalar(value: Any, found: PathType) -> Any:
    data = _as_json(_key_for(value, found) if isinstance(value, Model) else value)
    if data is None:
        raise ValidationError(_("A value is missing. To test for missing values, use 'is null'."))
    if not _suits(data, found):
        raise ValidationError(_("%(value)r is no value of the kind %(kind)s.") % {"value": data, "kind": found.kind})
    try:
        typed = found.typed(data)
    except (ValidationError, ValueError, TypeError, ArithmeticError) as error:
        reason = " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
        raise ValidationError(
            _("%(path)s cannot be %(value)r: %(reason)s")
            % {"path": ".".join(found.steps), "value": data, "reason": reason}
        ) from error
    if typed is None:
        raise ValidationError(_("%(value)r is no value of the kind %(kind)s.") % {"value": data, "kind": found.kind})
    choices = None if found.field is None or isinstance(found.field, ForeignKey) else found.field.flatchoices
    if choices and typed not in (known := [choice for choice, _label in choices]):
        raise ValidationError(
            _("%(value)r is none of the choices of %(path)s: %(choices)s.")
            % {"value": data, "path": ".".join(found.steps), "choices": ", ".join(map(str, known))}
        )
    return data if found.field is None else _as_json(typed)


def _key_for(value: Model, found: PathType) -> Any:
    """The value of the column of ``found`` for a reference to ``value``. Raises ``ValidationError``."""
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


def _suits(plain: Any, found: PathType) -> bool:
    if found.kind == "text":
        return isinstance(plain, str)
    if found.kind == "boolean":
        return isinstance(plain, bool)
    if found.kind == "number":
        # A fraction is refused for an integer field, not truncated.
        whole = isinstance(found.field, IntegerField)
        return not isinstance(plain, bool) and not (whole and isinstance(plain, float) and not plain.is_integer())
    return not (found.kind == "moment" and not isinstance(plain, str))


def _as_json(value: Any) -> Any:
    """``value`` in a form that JSON can hold. Raises ``ValidationError``."""
    value = plain(value)
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
    return error.messages if isinstance(error, ValidationError) else [str(error)]
