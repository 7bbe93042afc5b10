"""References of rows to a model or to one instance of it: its label and its key as text.

Labels and texts instead of content types and foreign keys: an index of all triggers is one query, no row has to exist
in another table first, and keys of any type can be stored and compared.
"""

from __future__ import annotations

import json
from typing import Any, TypeGuard

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db.models import CompositePrimaryKey, Model
from django.utils.translation import gettext as _


def pk_text(instance: Model, model: type[Model] | None = None) -> str:
    """The key of ``instance`` as rows store it; an empty string while it has none.

    The key is brought into the field's own form: an instance made with the text ``"5"`` for an integer key, or with a
    UUID in hex, has the same key as one that was read. With ``model``, one of its multi-table parents: its key as that.
    """
    field: Any = (model or instance.__class__)._meta.pk
    is_composite = isinstance(field, CompositePrimaryKey)
    key = instance.pk if is_composite else getattr(instance, field.attname)
    try:
        typed = _typed(field, key) if is_composite else field.to_python(key)
    except (ValueError, TypeError, ValidationError):
        typed = key
    return key_text(typed) if is_composite or typed is None else str(typed)


def key_text(key: Any) -> str:
    """``key`` as rows store it. The values of a composite key become a JSON list."""
    if isinstance(key, tuple):
        return "" if None in key else json.dumps([str(part) for part in key])
    return "" if key is None else str(key)


def split(subject: Any) -> tuple[str, str]:
    """The label and the key's text of a model class or an instance; two empty strings for None."""
    if subject is None:
        return "", ""
    if isinstance(subject, type) and issubclass(subject, Model):
        return subject._meta.label_lower, ""
    if isinstance(subject, Model):
        key = pk_text(subject)
        if not key:
            raise ValidationError(_("%s is not saved yet: it has no key to refer to.") % repr(subject))
        return subject._meta.label_lower, key
    raise ValidationError(_("%s is neither a model nor an instance of one.") % repr(subject))


def is_concrete(cls: Any) -> TypeGuard[type[Model]]:
    """Whether ``cls`` is a model class that has rows."""
    return isinstance(cls, type) and issubclass(cls, Model) and hasattr(cls, "_meta") and not cls._meta.abstract


def find_model(label: str) -> type[Model] | None:
    try:
        return apps.get_model(label) if label else None
    except (LookupError, ValueError):
        return None


def clean_key(model: type[Model], text: str) -> str:
    """``text`` in the form in which the key of a ``model`` instance is stored. Raises ``ValidationError``."""
    field = model._meta.pk
    try:
        key = json.loads(text) if isinstance(field, CompositePrimaryKey) else text
        cleaned = key_text(_typed(field, tuple(key) if isinstance(key, list) else key))
    except (ValueError, TypeError, ValidationError):
        cleaned = ""
    if not cleaned:
        raise ValidationError(_("%(text)r is not a key of %(model)s.") % {"text": text, "model": model._meta.label})
    return cleaned


def _typed(field: Any, key: Any) -> Any:
    """``key`` as a value of the key's ``field``. Raises what ``Field.to_python`` raises."""
    if isinstance(field, CompositePrimaryKey):
        parts: list[Any] = list(field.fields)
        return tuple(part.to_python(value) for part, value in zip(parts, key, strict=True))
    return field.to_python(key)
