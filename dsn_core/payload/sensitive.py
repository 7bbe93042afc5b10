"""What is never stored: passwords first."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Final, cast

from django.core.exceptions import FieldError
from django.db.models import Field, Model, QuerySet
from django.db.models.query import FlatValuesListIterable

from dsn_core import conf

#: The model attribute that names more fields whose values are never stored.
ATTRIBUTE = "dsn_sensitive_fields"

#: How the name of a password ends, whatever stands before it and however it is numbered: ``new_password1``.
_PASSWORD: Final = "password"  # noqa: S105 - a name
_DIGITS: Final = "0123456789"


def names(settings: conf.Settings) -> frozenset[str]:
    """The names, in lower case, that the settings call sensitive."""
    return frozenset(map(str.lower, settings.SENSITIVE_FIELDS))


def is_sensitive(name: str, everywhere: frozenset[str]) -> bool:
    """Whether an argument, key or field of this name is never stored: a password's, or one of ``everywhere``."""
    lowered = name.lower()
    return lowered in everywhere or lowered.rstrip(_DIGITS).endswith(_PASSWORD)


def is_no_secret(value: object) -> bool:
    """Whether a value is none, whatever its name: nothing, or a flag such as ``password_changed``."""
    return value is None or value is True or value is False


def own(model: type) -> set[str]:
    """The names in the attribute of ``model``, and in those of its bases: a subclass adds, and takes none away."""
    given = (vars(cls).get(ATTRIBUTE, ()) for cls in model.__mro__)
    return {name for some in given for name in ((some,) if isinstance(some, str) else some)}


def unknown(model: type[Model]) -> list[str]:
    """The names in the attribute of ``model`` itself that are no field of it, sorted."""
    given = vars(model).get(ATTRIBUTE, ())
    known = {name for field in model._meta.concrete_fields for name in (field.name, field.attname)}
    return sorted({given} - known if isinstance(given, str) else set(given) - known)


@functools.lru_cache(maxsize=1_024)
def attnames(model: type[Model], everywhere: frozenset[str]) -> frozenset[str]:
    """The attributes of ``model`` that hold sensitive values: those called so anywhere, and its own."""
    mine = own(model)
    return frozenset(
        field.attname
        for field in model._meta.concrete_fields
        if is_sensitive(field.name, everywhere) or field.name in mine or field.attname in mine
    )


def hide_columns(found: list[Any], rows: QuerySet[Any], everywhere: frozenset[str]) -> list[Any]:
    """``found``, which ``rows`` of ``values()`` or ``values_list()`` gave, with the sensitive columns blank."""
    query: Any = rows.query
    # As Django itself finds the columns, and their order.
    names = list(query.selected or (*query.extra_select, *query.values_select, *query.annotation_select))
    hidden = [_leads_to_sensitive(str(name), rows, everywhere) for name in names]
    if not any(hidden):
        return found
    if issubclass(rows._iterable_class, FlatValuesListIterable):
        return ["" for _ in found]
    return [
        {name: "" if hide else row[name] for name, hide in zip(names, hidden, strict=True)}
        if isinstance(row, dict)
        else tuple("" if hide else item for item, hide in zip(row, hidden, strict=True))
        for row in found
    ]


def _leads_to_sensitive(path: str, rows: QuerySet[Any], everywhere: frozenset[str]) -> bool:
    parts, query = path.split("__"), cast(Any, rows.query)
    if any(is_sensitive(part, everywhere) for part in parts):
        return True
    try:
        # Through relations, as the query itself finds its column; under another name, as F() has found it.
        annotation = query.annotations.get(path)
        field = query.names_to_path(parts, rows.model._meta)[1] if annotation is None else annotation.target
    except (FieldError, AttributeError):
        # Computed by the database.
        return False
    return isinstance(field, Field) and field.attname in attnames(field.model, everywhere)


def request_summary(value: Mapping[Any, Any]) -> dict[str, Any] | None:
    """What may be stored of a WSGI environ or an ASGI scope, which hold cookies and credentials; else None."""
    if "wsgi.version" in value:
        method, path, address = (value.get(key) for key in ("REQUEST_METHOD", "PATH_INFO", "REMOTE_ADDR"))
    elif "asgi" in value and "headers" in value:
        method, path, address = value.get("method"), value.get("path"), (value.get("client") or [None])[0]
    else:
        return None
    return {"method": method or "", "path": path or "", "address": address or ""}
