"""What is never stored: passwords first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import Model

from dsn_core import conf

#: The model attribute that names more fields whose values are never stored.
ATTRIBUTE = "dsn_sensitive_fields"


def names() -> frozenset[str]:
    """The names, in lower case, of arguments, keys and fields whose values are never stored."""
    return frozenset({"password", *(name.lower() for name in conf.current().SENSITIVE_FIELDS)})


def attnames(model: type[Model], everywhere: frozenset[str]) -> set[str]:
    """The attributes of ``model`` that hold sensitive values: those called as in ``everywhere``, and its own."""
    own = set(getattr(model, ATTRIBUTE, ()))
    return {
        field.attname for field in model._meta.concrete_fields if field.name.lower() in everywhere or field.name in own
    }


def request_summary(value: Mapping[Any, Any]) -> dict[str, Any] | None:
    """What may be stored of a WSGI environ or an ASGI scope, which hold cookies and credentials; else None."""
    if "wsgi.version" in value:
        method, path, address = (value.get(key) for key in ("REQUEST_METHOD", "PATH_INFO", "REMOTE_ADDR"))
    elif "asgi" in value and "headers" in value:
        method, path, address = value.get("method"), value.get("path"), (value.get("client") or [None])[0]
    else:
        return None
    return {"method": method or "", "path": path or "", "address": address or ""}
