"""Checks of the settings, of models' attributes for dsn-core and of the database's options. None runs a query."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from django.apps import apps
from django.core import checks
from django.db import connections

from dsn_core import conf
from dsn_core.checks.installed import as_warning, ready_messengers
from dsn_core.exceptions import ConfigurationError, UnknownName, nearest
from dsn_core.intake.record import outbox
from dsn_core.payload import sensitive
from dsn_core.plugins import profiles
from dsn_core.plugins.errors import describe
from dsn_core.plugins.kinds import RUNNERS
from dsn_core.plugins.registry import Registry, registry
from dsn_core.sending.sender import threads_of

#: The first SQLite with UPDATE ... FROM, which settles the rows of a batch.
SQLITE_VERSION: Final = (3, 33, 0)
#: The default size of psycopg's pool.
POOL_SIZE: Final = 4
#: Connections of a worker besides those that send: of its main thread, its listening thread and the fan-out.
OTHER_THREADS: Final = 3
_IDS: Final = {"not a dict": "dsn.E001", "unknown": "dsn.E002", "unusable": "dsn.E003"}


def check_settings(registry: Registry = registry, **kwargs: Any) -> list[checks.CheckMessage]:
    """``settings.DSN``: E001 to E005, W004, W006, W013, and the chosen runner's own checks."""
    found: list[checks.CheckMessage] = [
        checks.Error(problem.message, hint=problem.hint or None, id=_IDS[problem.kind]) for problem in conf.problems()
    ]
    found += map(as_warning, runner_messages(registry))
    try:
        profiles.relation()
    except ConfigurationError as error:
        hint = "Until it is fixed, users have no address for messengers without a path in DSN['ADDRESSES']."
        found.append(checks.Error(str(error), hint=hint, id="dsn.E005"))
    settings, candidates = conf.current(), [plugin.candidate for plugin in registry.plugins]
    known = {spelling for candidate in candidates for spelling in candidate.spellings}
    for setting, names in {"PLUGINS": settings.PLUGINS, "DISABLED_PLUGINS": settings.DISABLED_PLUGINS}.items():
        for name in names or ():
            if not any(candidate.is_meant_by([name]) for candidate in candidates):
                message = f"DSN[{setting!r}]: {UnknownName('plugin', name, known)}"
                hint = "'manage.py dsn_plugins' lists what is found. Correct the name, or remove it from the list."
                found.append(checks.Warning(message, hint=hint, id="dsn.W013"))
    return found


def runner_messages(registry: Registry) -> list[checks.CheckMessage]:
    """W004, or the chosen runner's own checks, or W006 when these raise."""
    name = conf.current().RUNNER
    try:
        runner = registry.find(RUNNERS, name)
    except UnknownName as error:
        known = registry.names(RUNNERS)
        hint = f"Set it to one of {', '.join(known)}, or install the plugin that provides it."
        message = f"DSN['RUNNER']: {UnknownName(error.kind, error.name, known)}"
        return [checks.Warning(message, hint=hint, id="dsn.W004")]
    try:
        return list(runner.check() or ())
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        message = f"DSN['RUNNER'] is {name!r}, whose check raised {describe(error)}."
        hint = "Upgrade or fix its plugin. Until then messages may wait for 'manage.py dsn_worker'."
        return [checks.Warning(message, hint=hint, id="dsn.W006")]


def runner_faults(registry: Registry) -> list[checks.CheckMessage]:
    """The messages that keep the runner from working, without its own warnings, such as of a missing sweep."""
    return [item for item in runner_messages(registry) if item.is_serious() or item.id in {"dsn.W004", "dsn.W006"}]


def check_models(**kwargs: Any) -> list[checks.CheckMessage]:
    """The models of the project: W014."""
    found: list[checks.CheckMessage] = []
    for model in apps.get_models(include_auto_created=True):
        fields = [field.name for field in model._meta.concrete_fields]
        for name in sensitive.unknown(model):
            message = f"{model._meta.label}.{sensitive.ATTRIBUTE} names {name!r}, which is no field of it"
            hint = "Correct the name: until then, the value of the intended field is stored in events."
            found.append(checks.Warning(f"{message}{nearest(name, fields)}.", hint=hint, obj=model, id="dsn.W014"))
    return found


def check_database(**kwargs: Any) -> list[checks.CheckMessage]:
    """E016 and W041 for SQLite, W047 for a connection pool, of the events' database. Opens no connection."""
    connection = connections[alias := outbox()]
    if connection.vendor == "sqlite":
        return list(_of_sqlite(connection, alias))
    return list(of_pool(registry, connection.settings_dict, alias))


def of_pool(registry: Registry, database: Mapping[str, Any], alias: str) -> Iterator[checks.CheckMessage]:
    """W047. ``database`` is the entry of ``alias`` in ``DATABASES``."""
    pool = database.get("OPTIONS", {}).get("pool")
    if not pool or conf.current().RUNNER != "worker":
        return
    sizes = pool if isinstance(pool, Mapping) else {}
    size = sizes.get("max_size") or sizes.get("min_size", POOL_SIZE)
    threads = OTHER_THREADS + sum(threads_of(name)[0] for name in ready_messengers(registry))
    if isinstance(size, int) and size < threads:
        yield checks.Warning(
            f"The pool of the database {alias!r} has {size} connections, and a worker has up to {threads} threads with "
            "one each: some threads never get a connection.",
            hint=f"Set DATABASES[{alias!r}]['OPTIONS']['pool'] to {{'max_size': {threads}}} or more, or run workers "
            "with settings without a pool.",
            id="dsn.W047",
        )


def _of_sqlite(connection: Any, alias: str) -> Iterator[checks.CheckMessage]:
    found = connection.Database.sqlite_version_info
    if found < SQLITE_VERSION:
        needed = ".".join(map(str, SQLITE_VERSION))
        yield checks.Error(
            f"dsn-core needs SQLite {needed} or newer, and Python uses {'.'.join(map(str, found))} here: the results "
            "of deliveries could not be stored.",
            hint="Use a Python that is built with a newer SQLite (python -c 'import sqlite3; "
            "print(sqlite3.sqlite_version)' shows it), or another database.",
            id="dsn.E016",
        )
    mode = str(connection.settings_dict.get("OPTIONS", {}).get("transaction_mode")).upper()
    # With the immediate runner, the process that writes also sends. A database in memory has no second writer.
    has_one_writer = conf.current().RUNNER == "immediate" or getattr(connection, "is_in_memory_db", bool)()
    if connection.settings_dict["NAME"] and not has_one_writer and mode not in {"IMMEDIATE", "EXCLUSIVE"}:
        yield checks.Warning(
            f"The events are in the SQLite database {alias!r}, whose transactions begin without the write lock. "
            "One that reads first and writes later fails with 'database is locked' when another process, such as "
            "dsn_worker, writes in between.",
            hint=f"Set DATABASES[{alias!r}]['OPTIONS'] to {{'transaction_mode': 'IMMEDIATE'}}.",
            id="dsn.W041",
        )
