"""Checks for production, which run with ``manage.py check --deploy`` only. None runs a query."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core import checks

from dsn_core import conf
from dsn_core.checks.configuration import runner_faults
from dsn_core.checks.installed import fault_messages, messenger_messages
from dsn_core.plugins.registry import Registry, registry


def check_deployment(**kwargs: Any) -> list[checks.CheckMessage]:
    """E015, W020, the messengers' own checks, W040 and W044."""
    return messages(registry)


def messages(registry: Registry) -> list[checks.CheckMessage]:
    """:func:`check_deployment` for any registry."""
    of_messengers = [message for found in messenger_messages(registry).values() for message in found]
    return [*_faults(registry), *of_messengers, *_immediate(), *_environment()]


def _faults(registry: Registry) -> Iterator[checks.CheckMessage]:
    """One error for all faults that other checks report as warnings, so that a deployment can stop at it."""
    found = [item for item in (*fault_messages(registry), *runner_faults(registry)) if not item.is_silenced()]
    if found:
        ids = ", ".join(sorted({str(item.id) for item in found}))
        number = "1 fault keeps" if len(found) == 1 else f"{len(found)} faults keep"
        yield checks.Error(
            f"{number} plugins or the runner from working: {ids}.",
            hint="The warnings with these ids say what to do. 'manage.py dsn_plugins' lists what is installed.",
            id="dsn.E015",
        )


def _immediate() -> Iterator[checks.CheckMessage]:
    if conf.current().RUNNER == "immediate":
        yield checks.Warning(
            "DSN['RUNNER'] is 'immediate': the processes that answer requests also send the messages, and retries "
            "wait until one of them sends again.",
            hint="Set DSN['RUNNER'] to 'worker' and keep 'manage.py dsn_worker' running, or use another runner.",
            id="dsn.W040",
        )


def _environment() -> Iterator[checks.CheckMessage]:
    if not conf.current().ENVIRONMENT:
        yield checks.Warning(
            "DSN['ENVIRONMENT'] is not set: a copy of this database, for example on a developer's machine, would send "
            "its messages a second time, to the same people.",
            hint="Set it to a different name in each environment, 'production' here, and run 'manage.py dsn_adopt'.",
            id="dsn.W044",
        )
