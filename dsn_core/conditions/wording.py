"""Conditions as texts: for reading, and as typed in forms."""

from __future__ import annotations

import json
from typing import Any

from django.core.exceptions import ValidationError

from dsn_core.conditions.operators import OPERATORS, Condition
from dsn_core.conditions.path_types import Roots, path_type
from dsn_core.conditions.validation import FALSE_WORDS, TRUE_WORDS
from dsn_core.exceptions import ConfigurationError


def in_words(row: Any) -> str:
    """``row`` as a readable text, also when it is no condition."""
    try:
        return str(Condition.of(row))
    except ConfigurationError:
        return repr(row)


def read(path: str, operator: str, text: str, roots: Roots | None) -> Condition:
    """The condition that was typed: ``text`` is converted to the type that the path holds, where that is known.

    Otherwise valid JSON is read as JSON (``5``, ``true``, ``"5"``), and everything else is a text.
    """
    condition = Condition.of((path, operator, text))
    try:
        takes = condition.kind_of_operator.takes
        kind = "any" if roots is None else path_type(condition.path, roots).kind
    except (ValidationError, ConfigurationError):
        # clean() reports the error.
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
        return {**dict.fromkeys(TRUE_WORDS - {""}, True), **dict.fromkeys(FALSE_WORDS, False)}.get(word.lower(), text)
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
    """The value of ``condition`` as a text for :func:`read`."""
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
