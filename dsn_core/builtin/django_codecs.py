"""Codecs for the arguments of Django's signals: they store a summary for messages, never the object."""

from __future__ import annotations

import datetime
from typing import Any

from django.apps import AppConfig
from django.apps.registry import Apps
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.forms import BaseForm
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.base import Template
from django.template.context import BaseContext

from dsn_core import conf
from dsn_core.contracts.codecs import BaseCodec
from dsn_core.payload import sensitive
from dsn_core.payload.requests import HIDDEN, MIN_PART, safe_path


class _Summary(BaseCodec):
    """Templates get the summary as it was stored."""

    is_summary = True

    def decode(self, data: Any) -> Any:
        return data


class RequestCodec(_Summary):
    """Requests, as a dict: method, path, user (as text) and address. Never headers, cookies or forms."""

    name = "request"
    python_type = HttpRequest

    def encode(self, value: HttpRequest) -> dict[str, Any]:
        user = getattr(value, "user", None)
        return {
            "method": value.method,
            "path": safe_path(value.path, value.resolver_match),
            "user": str(user) if user is not None and user.is_authenticated else "",
            "address": value.META.get("REMOTE_ADDR", ""),
        }


class ResponseCodec(_Summary):
    """Responses, as a dict: status code, reason and content type. Never content, headers or cookies."""

    name = "response"
    python_type = HttpResponseBase

    def encode(self, value: HttpResponseBase) -> dict[str, Any]:
        return {
            "status_code": value.status_code,
            "reason": value.reason_phrase,
            "content_type": value.headers.get("Content-Type", ""),
        }


class FormCodec(_Summary):
    """Forms, as a dict: the class's name, the names of the changed fields and, if it was validated, errors by field.

    Entered values are not stored, and are removed from errors where the field is sensitive. Send the values that a
    message needs as arguments of their own.
    """

    name = "form"
    python_type = BaseForm

    def encode(self, value: BaseForm) -> dict[str, Any]:
        # Not is_valid(): validating a form may query the database.
        checked = value._errors is not None  # type: ignore[attr-defined]
        typed = _typed_secrets(value) if checked else []
        return {
            "name": type(value).__name__,
            "is_bound": value.is_bound,
            "changed": list(value.changed_data) if value.is_bound else [],
            "errors": {name: [_without(typed, str(text)) for text in texts] for name, texts in value.errors.items()}
            if checked
            else {},
        }


def _typed_secrets(form: BaseForm) -> list[str]:
    """The values entered into the form's sensitive fields, which errors of any field may repeat."""
    names = sensitive.names(conf.current())
    hidden = [form.add_prefix(name) for name in form.fields if sensitive.is_sensitive(name, names)]
    typed = (form.data.get(name) for name in hidden)
    return [text for text in typed if isinstance(text, str) and len(text) >= MIN_PART]


def _without(typed: list[str], text: str) -> str:
    for secret in typed:
        text = text.replace(secret, HIDDEN)
    return text


class TemplateCodec(_Summary):
    """Templates, by name."""

    name = "template"
    python_type = Template

    def encode(self, value: Template) -> str:
        return value.name or "<unknown>"


class ContextCodec(_Summary):
    """Template contexts, as the names of their variables."""

    name = "context"
    python_type = BaseContext

    def encode(self, value: BaseContext) -> list[str]:
        layers: list[dict[Any, Any]] = vars(value)["dicts"]
        names = {str(name) for layer in layers for name in layer}
        return sorted(names - {"True", "False", "None"})


class AppConfigCodec(_Summary):
    """Apps, as a dict: label, name and verbose name."""

    name = "app_config"
    python_type = AppConfig

    def encode(self, value: AppConfig) -> dict[str, str]:
        return {"label": value.label, "name": value.name, "verbose_name": str(value.verbose_name)}


class AppsCodec(_Summary):
    """App registries, as the labels of their apps."""

    name = "apps"
    python_type = Apps

    def encode(self, value: Apps) -> list[str]:
        return sorted(value.app_configs)


class MigrationCodec(_Summary):
    """Migrations, by app and name, as in ``auth.0001_initial``."""

    name = "migration"
    python_type = Migration

    def encode(self, value: Migration) -> str:
        return f"{value.app_label}.{value.name}"


class ConnectionCodec(_Summary):
    """Database connections, as a dict: alias and vendor."""

    name = "connection"
    python_type = BaseDatabaseWrapper

    def encode(self, value: BaseDatabaseWrapper) -> dict[str, str]:
        return {"alias": value.alias, "vendor": value.vendor}


CODECS: list[type[BaseCodec]] = [
    RequestCodec,
    ResponseCodec,
    FormCodec,
    TemplateCodec,
    ContextCodec,
    AppConfigCodec,
    AppsCodec,
    MigrationCodec,
    ConnectionCodec,
]

try:
    from django.tasks import TaskResult
except ImportError:
    # Django 5.2 has no tasks.
    pass
else:
    _MOMENTS = ("enqueued_at", "started_at", "finished_at")

    class TaskResultCodec(BaseCodec):
        """Tasks and their status, as a dict. Never their arguments or return values."""

        name = "task_result"
        python_type = TaskResult

        def encode(self, value: TaskResult[Any, Any]) -> dict[str, Any]:
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

        def decode(self, data: dict[str, Any]) -> dict[str, Any]:
            moments = {name: data[name] and datetime.datetime.fromisoformat(data[name]) for name in _MOMENTS}
            return {**data, **moments}

    CODECS.append(TaskResultCodec)
