"""Every signal that Django ships, with what each provides."""

from __future__ import annotations

from functools import partial
from typing import Final

from django.contrib.auth import signals as auth
from django.core import signals as core
from django.db.backends import signals as backends
from django.db.models import Model
from django.db.models import signals as models
from django.test import signals as test

from dsn_core.contracts.registrations import SignalRegistration

#: What happened to the relation; what is about to happen to it is no news yet.
M2M_DONE: Final = frozenset({"post_add", "post_remove", "post_clear"})


def registrations() -> list[SignalRegistration]:
    """Signals of models, requests, migrations, users and settings, by Django's own names."""
    model = partial(SignalRegistration, senders="models")
    return [
        model("pre_init", models.pre_init, ("args", "kwargs"), description="A model instance is about to be made."),
        model("post_init", models.post_init, {"instance": Model}, description="A model instance was made or read."),
        model(
            "pre_save",
            models.pre_save,
            {"instance": Model, "raw": bool, "using": str, "update_fields": frozenset},
            recorded_by="post_save",
            description="An instance is saved; recorded once it is.",
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
            description="An instance is about to be deleted.",
        ),
        model(
            "post_delete",
            models.post_delete,
            {"instance": Model, "using": str, "origin": None},
            inherits=False,
            removes=True,
            description="An instance was deleted.",
        ),
        SignalRegistration(
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
        SignalRegistration(
            "setting_changed",
            core.setting_changed,
            {"setting": str, "value": None, "enter": bool},
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
            description="Somebody failed to log in.",
        ),
    ]
