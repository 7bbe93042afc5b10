"""Checks of the settings, and of what models say of themselves. None asks the database."""

from __future__ import annotations

from typing import Any, Final

from django.apps import apps
from django.core import checks
from django.db import connections

from dsn_core import conf
from dsn_core.exceptions import ConfigurationError, UnknownName, nearest
from dsn_core.payload import sensitive
from dsn_core.pipeline.intake import outbox
from dsn_core.plugins import profiles
from dsn_core.plugins.kinds import RUNNERS
from dsn_core.plugins.loading import describe
from dsn_core.plugins.registry import Registry, registry

_IDS: Final = {"not a dict": "dsn.E001", "unknown": "dsn.E002", "unusable": "dsn.E003"}


def check_settings(**kwargs: Any) -> list[checks.CheckMessage]:
    """``settings.DSN``: E001 to E006, W013, and what the chosen runner says."""
    found: list[checks.CheckMessage] = [
        checks.Error(problem.message, hint=problem.hint or None, id=_IDS[problem.kind]) for problem in conf.problems()
    ]
    return [*found, *runner_messages(registry), *profile_messages(), *plugin_list_messages(registry)]


def runner_messages(registry: Registry) -> list[checks.CheckMessage]:
    """E004, or what the runner that is chosen says of itself; E006 when it cannot even say that."""
    name = conf.current().RUNNER
    try:
        runner = registry.find(RUNNERS, name)
    except UnknownName as error:
        known = registry.names(RUNNERS)
        hint = f"Set it to one of {', '.join(known)}, or install the plugin that brings it."
        message = f"DSN['RUNNER']: {UnknownName(error.kind, error.name, known)}"
        return [checks.Error(message, hint=hint, id="dsn.E004")]
    try:
        return list(runner.check() or ())
    except Exception as error:
        message = f"DSN['RUNNER'] is {name!r}, whose check raised {describe(error)}."
        hint = "Upgrade or mend its plugin. Until then messages may wait for 'manage.py dsn_worker'."
        return [checks.Error(message, hint=hint, id="dsn.E006")]


def profile_messages() -> list[checks.CheckMessage]:
    """E005."""
    try:
        profiles.relation()
    except ConfigurationError as error:
        hint = "Until it is mended, users have no address where no path of DSN['ADDRESSES'] says it."
        return [checks.Error(str(error), hint=hint, id="dsn.E005")]
    return []


def plugin_list_messages(registry: Registry) -> list[checks.CheckMessage]:
    """W013."""
    settings = conf.current()
    candidates = [plugin.candidate for plugin in registry.plugins]
    known = {spelling for candidate in candidates for spelling in candidate.spellings}
    lists = {"PLUGINS": settings.PLUGINS or (), "DISABLED_PLUGINS": settings.DISABLED_PLUGINS}
    return [
        checks.Warning(
            f"DSN[{setting!r}]: {UnknownName('plugin', name, known)}",
            hint="'manage.py dsn_plugins' lists what is found. Correct the name, or take it off the list.",
            id="dsn.W013",
        )
        for setting, names in lists.items()
        for name in names
        if not any(candidate.is_meant_by([name]) for candidate in candidates)
    ]


def check_models(**kwargs: Any) -> list[checks.CheckMessage]:
    """The models of the project: W014."""
    found: list[checks.CheckMessage] = []
    for model in apps.get_models(include_auto_created=True):
        fields = [field.name for field in model._meta.concrete_fields]
        for name in sensitive.unknown(model):
            message = f"{model._meta.label}.{sensitive.ATTRIBUTE} names {name!r}, which is no field of it"
            hint = "Correct the name: until then, the value of the field that is meant is stored in events."
            found.append(checks.Warning(f"{message}{nearest(name, fields)}.", hint=hint, obj=model, id="dsn.W014"))
    return found


def check_deployment(**kwargs: Any) -> list[checks.CheckMessage]:
    """W040."""
    if conf.current().RUNNER != "immediate":
        return []
    return [
        checks.Warning(
            "DSN['RUNNER'] is 'immediate': the processes that answer requests send the messages too, and retries "
            "wait until one of them happens to send again.",
            hint="Set DSN['RUNNER'] to 'worker' and keep 'manage.py dsn_worker' running, or use another runner.",
            id="dsn.W040",
        )
    ]


def check_database(**kwargs: Any) -> list[checks.CheckMessage]:
    """W041. Silent with the ``immediate`` runner, where the process that writes is the one that sends."""
    if conf.current().RUNNER == "immediate":
        return []
    connection = connections[alias := outbox()]
    if connection.vendor != "sqlite" or not connection.settings_dict["NAME"]:
        return []
    in_memory = getattr(connection, "is_in_memory_db", lambda: False)()
    mode = connection.settings_dict.get("OPTIONS", {}).get("transaction_mode")
    # In memory there is one process and no second writer.
    if in_memory or str(mode).upper() in {"IMMEDIATE", "EXCLUSIVE"}:
        return []
    return [
        checks.Warning(
            f"The events are in the SQLite database {alias!r}, whose transactions begin without the write lock. "
            "One that reads first and writes later fails with 'database is locked' when another process, such as "
            "dsn_worker, writes in between.",
            hint=f"Set DATABASES[{alias!r}]['OPTIONS'] to {{'transaction_mode': 'IMMEDIATE'}}.",
            id="dsn.W041",
        )
    ]
