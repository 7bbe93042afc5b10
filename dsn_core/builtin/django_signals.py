"""Registrations of every signal that Django ships."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from django.contrib.auth import signals as auth
from django.core import signals as core
from django.db.backends import signals as backends
from django.db.models import DEFERRED, Model, QuerySet
from django.db.models import signals as models
from django.test import signals as test
from django.utils import autoreload
from django.views.debug import SafeExceptionReporterFilter

from dsn_core import conf
from dsn_core.contracts.registrations import BuiltInSignal, SignalRegistration
from dsn_core.payload import sensitive

#: The actions after a change of the relation; those before it are not yet certain.
M2M_DONE: Final = frozenset({"post_add", "post_remove", "post_clear"})


def registrations() -> list[SignalRegistration]:
    """Signals of models, requests, migrations, users and settings, by Django's names."""
    model = partial(BuiltInSignal, senders="models")
    return [
        model(
            "pre_init",
            models.pre_init,
            {"args": tuple, "kwargs": dict},
            keeps=_named,
            description="A model instance is about to be made.",
        ),
        model("post_init", models.post_init, {"instance": Model}, description="A model instance was made or read."),
        model(
            "pre_save",
            models.pre_save,
            {"instance": Model, "raw": bool, "using": str, "update_fields": frozenset},
            recorded_by="post_save",
            description="An instance is being saved; recorded when it is saved.",
        ),
        model(
            "post_save",
            models.post_save,
            {"instance": Model, "created": bool, "raw": bool, "using": str, "update_fields": frozenset},
            announced_by="pre_save",
            description="An instance was saved.",
        ),
        model(
            "pre_delete",
            models.pre_delete,
            {"instance": Model, "using": str, "origin": None},
            inherits=False,
            removes=True,
            keeps=_without_rows,
            description="An instance is about to be deleted.",
        ),
        model(
            "post_delete",
            models.post_delete,
            {"instance": Model, "using": str, "origin": None},
            inherits=False,
            removes=True,
            keeps=_without_rows,
            description="An instance was deleted.",
        ),
        BuiltInSignal(
            "m2m_changed",
            models.m2m_changed,
            {"instance": None, "action": str, "reverse": bool, "model": type, "pk_set": set, "using": str},
            senders="through",
            only={"action": M2M_DONE},
            description="Objects of a many-to-many relation were added or removed.",
        ),
        SignalRegistration(
            "class_prepared", models.class_prepared, (), description="A model class was made, at start-up."
        ),
        SignalRegistration(
            "pre_migrate",
            models.pre_migrate,
            {"app_config": None, "verbosity": int, "interactive": bool, "stdout": None, "using": str, "plan": list}
            | {"apps": None},
            description="An app is about to be migrated.",
        ),
        SignalRegistration(
            "post_migrate",
            models.post_migrate,
            {"app_config": None, "verbosity": int, "interactive": bool, "stdout": None, "using": str, "plan": list}
            | {"apps": None},
            description="An app was migrated.",
        ),
        SignalRegistration("request_started", core.request_started, None, description="A request begins."),
        SignalRegistration("request_finished", core.request_finished, (), description="A request has ended."),
        SignalRegistration(
            "got_request_exception", core.got_request_exception, ("request",), description="A view raised an error."
        ),
        BuiltInSignal(
            "setting_changed",
            core.setting_changed,
            {"setting": str, "value": None, "enter": bool},
            keeps=_cleansed,
            description="A setting was changed, in tests.",
        ),
        SignalRegistration(
            "template_rendered",
            test.template_rendered,
            ("template", "context"),
            description="A template was rendered, in tests.",
        ),
        SignalRegistration(
            "connection_created",
            backends.connection_created,
            ("connection",),
            description="A connection to a database was opened.",
        ),
        SignalRegistration(
            "user_logged_in",
            auth.user_logged_in,
            {"request": None, "user": Model},
            actor_object="user",
            description="A user logged in.",
        ),
        SignalRegistration(
            "user_logged_out",
            auth.user_logged_out,
            {"request": None, "user": Model},
            actor_object="user",
            description="A user logged out.",
        ),
        SignalRegistration(
            "user_login_failed",
            auth.user_login_failed,
            {"credentials": dict, "request": None},
            # Django has masked the password, and we leave it out.
            plain=["credentials"],
            description="A login failed.",
        ),
        SignalRegistration(
            "autoreload_started", autoreload.autoreload_started, (), description="The development server watches files."
        ),
        SignalRegistration(
            "file_changed",
            autoreload.file_changed,
            {"file_path": Path},
            description="A file that the development server watches was changed.",
        ),
        *_of_tasks(),
    ]


def _of_tasks() -> list[SignalRegistration]:
    try:
        from django.tasks import TaskResult, signals
    except ImportError:
        # Django 5.2 has no tasks.
        return []
    task = partial(SignalRegistration, provides={"task_result": TaskResult})
    return [
        task("task_enqueued", signals.task_enqueued, description="A task was enqueued."),
        task("task_started", signals.task_started, description="A worker began a task."),
        task("task_finished", signals.task_finished, description="A task succeeded or failed."),
    ]


def _named(sender: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The constructor's arguments, all by name: for a row that is read, the password is a positional argument."""
    fields = sender._meta.concrete_fields
    given = {field.attname: value for field, value in zip(fields, kwargs["args"], strict=False)} | kwargs["kwargs"]
    secret = sensitive.attnames(sender, sensitive.names(conf.current()))
    kept = {name: value for name, value in given.items() if value is not DEFERRED and name not in secret}
    return {**kwargs, "args": (), "kwargs": kept}


def _without_rows(sender: Any, kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    """A deleted queryset becomes its model: to store its rows would be a query for each of them."""
    origin = kwargs.get("origin")
    return {**kwargs, "origin": origin.model} if isinstance(origin, QuerySet) else kwargs


def _cleansed(sender: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The setting as in Django's error reports: without keys and passwords."""
    return {**kwargs, "value": SafeExceptionReporterFilter().cleanse_setting(kwargs["setting"], kwargs["value"])}
