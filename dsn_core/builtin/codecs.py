"""Codecs for common types of signal arguments, and for those of Django's signals.

Of an object that cannot be stored, such as a request, they store a summary for messages.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import io
import operator
import pathlib
import uuid
from collections.abc import Callable
from typing import Any

from django.apps import AppConfig
from django.apps.registry import Apps
from django.core.files.base import File
from django.core.management.base import OutputWrapper
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.forms import BaseForm
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.base import Template
from django.template.context import BaseContext
from django.utils.dateparse import parse_duration
from django.utils.duration import duration_iso_string

from dsn_core.contracts.codecs import BaseCodec
from dsn_core.payload import sensitive
from dsn_core.payload.requests import HIDDEN, MIN_PART, safe_path


def _codec(
    name: str, python_type: Any, encode: Callable[[Any], Any], decode: Callable[[Any], Any], *, is_summary: bool = False
) -> type[BaseCodec]:
    functions = {"encode": staticmethod(encode), "decode": staticmethod(decode)}
    return type(name, (BaseCodec,), {"name": name, "python_type": python_type, "is_summary": is_summary, **functions})


def _as_stored(data: Any) -> Any:
    return data


def _summary(name: str, python_type: Any, encode: Callable[[Any], Any]) -> type[BaseCodec]:
    # What earlier versions stored is decoded as it is.
    return _codec(name, python_type, encode, _as_stored, is_summary=True)


def _of_request(value: HttpRequest) -> dict[str, Any]:
    """Never headers, cookies or forms."""
    user = getattr(value, "user", None)
    return {
        "method": value.method,
        "path": safe_path(value.path, value.resolver_match),
        "user": str(user) if user is not None and user.is_authenticated else "",
        "address": value.META.get("REMOTE_ADDR", ""),
    }


def _of_response(value: HttpResponseBase) -> dict[str, Any]:
    """Never content, headers or cookies."""
    return {
        "status_code": value.status_code,
        "reason": value.reason_phrase,
        "content_type": value.headers.get("Content-Type", ""),
    }


def _of_form(value: BaseForm) -> dict[str, Any]:
    """The class's name, the names of the changed fields and, if it was validated, errors by field.

    Entered values are not stored, and are removed from errors where the field is sensitive. Send the values that a
    message needs as arguments of their own.
    """
    errors: dict[str, list[str]] = {}
    # Not is_valid(): validating a form may query the database.
    if value._errors is not None:  # type: ignore[attr-defined]
        typed = _typed_secrets(value)
        errors = {name: [_without(typed, str(text)) for text in texts] for name, texts in value.errors.items()}
    return {
        "name": type(value).__name__,
        "is_bound": value.is_bound,
        "changed": list(value.changed_data) if value.is_bound else [],
        "errors": errors,
    }


def _typed_secrets(form: BaseForm) -> list[str]:
    """The values entered into the form's sensitive fields, which errors of any field may repeat."""
    names = sensitive.names()
    hidden = [form.add_prefix(name) for name in form.fields if sensitive.is_sensitive(name, names)]
    typed = (form.data.get(name) for name in hidden)
    return [text for text in typed if isinstance(text, str) and len(text) >= MIN_PART]


def _without(typed: list[str], text: str) -> str:
    for secret in typed:
        text = text.replace(secret, HIDDEN)
    return text


def _of_context(value: BaseContext) -> list[str]:
    layers: list[dict[Any, Any]] = vars(value)["dicts"]
    names = {str(name) for layer in layers for name in layer}
    return sorted(names - {"True", "False", "None"})


def _of_app(value: AppConfig) -> dict[str, str]:
    return {"label": value.label, "name": value.name, "verbose_name": str(value.verbose_name)}


def _of_connection(value: BaseDatabaseWrapper) -> dict[str, str]:
    return {"alias": value.alias, "vendor": value.vendor}


def _of_bytes(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


_as_iso = operator.methodcaller("isoformat")
_named = operator.attrgetter("name")

CODECS: list[type[BaseCodec]] = [
    _codec("datetime", datetime.datetime, _as_iso, datetime.datetime.fromisoformat),
    _codec("date", datetime.date, _as_iso, datetime.date.fromisoformat),
    _codec("time", datetime.time, _as_iso, datetime.time.fromisoformat),
    _codec("timedelta", datetime.timedelta, duration_iso_string, parse_duration),
    _codec("decimal", decimal.Decimal, str, decimal.Decimal),
    _codec("uuid", uuid.UUID, str, uuid.UUID),
    _codec("bytes", bytes, _of_bytes, base64.b64decode),
    # Files, those of models and uploaded ones, by name; the content is not stored.
    _codec("file", File, _named, _as_stored),
    _codec("path", pathlib.PurePath, str, _as_stored),
    # Streams by name. Their base is one that the streams written in C have, too.
    _codec("stream", io.IOBase.__base__, lambda value: str(getattr(value, "name", "")), _as_stored),
    # The output of commands, an argument of migration signals.
    _codec("output", OutputWrapper, lambda value: str(getattr(value, "name", "")), _as_stored),
    _summary("request", HttpRequest, _of_request),
    _summary("response", HttpResponseBase, _of_response),
    _summary("form", BaseForm, _of_form),
    _summary("template", Template, lambda value: value.name or "<unknown>"),
    _summary("context", BaseContext, _of_context),
    _summary("app_config", AppConfig, _of_app),
    _summary("apps", Apps, lambda value: sorted(value.app_configs)),
    _summary("migration", Migration, lambda value: f"{value.app_label}.{value.name}"),
    _summary("connection", BaseDatabaseWrapper, _of_connection),
]

try:
    from django.tasks import TaskResult
except ImportError:
    # Django 5.2 has no tasks.
    pass
else:
    _MOMENTS = ("enqueued_at", "started_at", "finished_at")

    def _of_task(value: TaskResult[Any, Any]) -> dict[str, Any]:
        """Its task and status. Never arguments or return values."""
        moments = {name: getattr(value, name) for name in _MOMENTS}
        return {
            "id": value.id,
            "task": value.task.module_path,
            "status": str(value.status),
            "backend": value.backend,
            "queue_name": value.task.queue_name,
            "attempts": value.attempts,
            "errors": [error.exception_class_path for error in value.errors],
            **{name: moment and moment.isoformat() for name, moment in moments.items()},
        }

    def _read_task(data: dict[str, Any]) -> dict[str, Any]:
        moments = {name: data[name] and datetime.datetime.fromisoformat(data[name]) for name in _MOMENTS}
        return {**data, **moments}

    CODECS.append(_codec("task_result", TaskResult, _of_task, _read_task))
