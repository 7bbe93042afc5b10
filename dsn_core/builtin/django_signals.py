"""Registrations of every signal that Django ships."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from django.contrib.auth import signals as auth
from django.core import signals as core
from django.db.backends import signals as backends
from django.db.models import DEFERRED, Model, QuerySet
from django.db.models import signals as models
from django.test import signals as test
from django.utils import autoreload
from django.views.debug import SafeExceptionReporterFilter

from dsn_core.contracts.registrations import BuiltInSignal, SignalRegistration
from dsn_core.payload import sensitive

#: The actions after a change of the relation; those before it are not yet certain.
M2M_DONE: Final = frozenset({"post_add", "post_remove", "post_clear"})


def registrations() -> list[SignalRegistration]:
    """Signals of models, requests, migrations, users and settings. The verb is Django's name of the signal."""
    model = partial(_registration, models, senders="models")
    deletion = partial(model, inherits=False, removes=True, keeps=_without_rows)
    init = {"args": tuple, "kwargs": dict}
    save = {"raw": bool, "using": str, "update_fields": frozenset}
    delete = {"instance": Model, "using": str, "origin": None}
    m2m = {"instance": None, "action": str, "reverse": bool, "model": type, "pk_set": set, "using": str}
    migrate = {"app_config": None, "verbosity": int, "interactive": bool, "stdout": None, "using": str, "plan": list}
    user = {"request": None, "user": Model}
    return [
        model("pre_init", "A model instance is about to be made.", init, keeps=_named),
        model("post_init", "A model instance was made or read.", {"instance": Model}),
        model(
            "pre_save",
            "An instance is being saved; recorded when it is saved.",
            {"instance": Model, **save},
            recorded_by="post_save",
        ),
        model(
            "post_save", "An instance was saved.", {"instance": Model, "created": bool, **save}, announced_by="pre_save"
        ),
        deletion("pre_delete", "An instance is about to be deleted.", delete),
        deletion("post_delete", "An instance was deleted.", delete),
        _registration(
            models,
            "m2m_changed",
            "Objects of a many-to-many relation were added or removed.",
            m2m,
            senders="through",
            only={"action": M2M_DONE},
        ),
        _registration(models, "class_prepared", "A model class was made, at start-up.", ()),
        _registration(models, "pre_migrate", "An app is about to be migrated.", {**migrate, "apps": None}),
        _registration(models, "post_migrate", "An app was migrated.", {**migrate, "apps": None}),
        _registration(core, "request_started", "A request begins.", None),
        _registration(core, "request_finished", "A request has ended.", ()),
        _registration(core, "got_request_exception", "A view raised an error.", ("request",)),
        _registration(
            core,
            "setting_changed",
            "A setting was changed, in tests.",
            {"setting": str, "value": None, "enter": bool},
            keeps=_cleansed,
        ),
        _registration(test, "template_rendered", "A template was rendered, in tests.", ("template", "context")),
        _registration(backends, "connection_created", "A connection to a database was opened.", ("connection",)),
        _registration(auth, "user_logged_in", "A user logged in.", user, actor_object="user"),
        _registration(auth, "user_logged_out", "A user logged out.", user, actor_object="user"),
        # Django masks the password among the credentials, and we leave it out.
        _registration(
            auth,
            "user_login_failed",
            "A login failed.",
            {"credentials": dict, "request": None},
            plain=["credentials"],
        ),
        _registration(autoreload, "autoreload_started", "The development server watches files.", ()),
        _registration(
            autoreload, "file_changed", "A file that the development server watches was changed.", {"file_path": Path}
        ),
        *_of_tasks(),
    ]


def _registration(
    module: ModuleType, name: str, description: str, provides: Iterable[str] | None, **more: Any
) -> SignalRegistration:
    return BuiltInSignal(name, getattr(module, name), provides, description=description, **more)


def _of_tasks() -> list[SignalRegistration]:
    try:
        from django.tasks import TaskResult, signals
    except ImportError:
        # Django 5.2 has no tasks.
        return []
    provides = {"task_result": TaskResult}
    return [
        _registration(signals, "task_enqueued", "A task was enqueued.", provides),
        _registration(signals, "task_started", "A worker began a task.", provides),
        _registration(signals, "task_finished", "A task succeeded or failed.", provides),
    ]


def _named(sender: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The constructor's arguments, all by name: for a row that is read, the password is a positional argument."""
    fields = sender._meta.concrete_fields
    given = {field.attname: value for field, value in zip(fields, kwargs["args"], strict=False)} | kwargs["kwargs"]
    secret = sensitive.attnames(sender, sensitive.names())
    kept = {name: value for name, value in given.items() if value is not DEFERRED and name not in secret}
    return {**kwargs, "args": (), "kwargs": kept}


def _without_rows(sender: Any, kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    """A deleted queryset becomes its model: to store its rows would be a query for each of them."""
    origin = kwargs.get("origin")
    return {**kwargs, "origin": origin.model} if isinstance(origin, QuerySet) else kwargs


def _cleansed(sender: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The setting as in Django's error reports: without keys and passwords."""
    return {**kwargs, "value": SafeExceptionReporterFilter().cleanse_setting(kwargs["setting"], kwargs["value"])}
