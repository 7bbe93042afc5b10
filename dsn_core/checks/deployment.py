"""Checks for production, which run with ``manage.py check --deploy`` only."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Iterator, Sequence
from typing import Any, Final

from django.core import checks
from django.db import transaction

from dsn_core import conf
from dsn_core.checks.configuration import runner_faults
from dsn_core.checks.installed import fault_messages, messenger_messages
from dsn_core.intake.record import outbox
from dsn_core.plugins.errors import describe
from dsn_core.plugins.registry import Registry, registry
from dsn_core.queue import environment, standstill

logger = logging.getLogger("dsn_core.checks")

_WAYS_OUT: Final = {
    "immediate": "Keep 'manage.py dsn_worker' running: retries and unfinished deliveries wait for it.",
    "worker": "Keep 'manage.py dsn_worker' running, under a supervisor that restarts it.",
}


def check_deployment(registry: Registry = registry, **kwargs: Any) -> list[checks.CheckMessage]:
    """E015, W020, the messengers' own checks, W040 and W044. Without a query."""
    found = [message for messages in messenger_messages(registry).values() for message in messages]
    # One error for all faults that other checks report as warnings, so that a deployment can stop at it.
    faults = [item for item in (*fault_messages(registry), *runner_faults(registry)) if not item.is_silenced()]
    if faults:
        ids = ", ".join(sorted({str(item.id) for item in faults}))
        number = "1 fault keeps" if len(faults) == 1 else f"{len(faults)} faults keep"
        error = checks.Error(
            f"{number} plugins or the runner from working: {ids}.",
            hint="The warnings with these ids say what to do. 'manage.py dsn_plugins' lists what is installed.",
            id="dsn.E015",
        )
        found.append(error)
    if conf.current().RUNNER == "immediate":
        warning = checks.Warning(
            "DSN['RUNNER'] is 'immediate': the processes that answer requests also send the messages, and retries "
            "wait until one of them sends again.",
            hint="Set DSN['RUNNER'] to 'worker' and keep 'manage.py dsn_worker' running, or use another runner.",
            id="dsn.W040",
        )
        found.append(warning)
    if not conf.current().ENVIRONMENT:
        warning = checks.Warning(
            "DSN['ENVIRONMENT'] is not set: a copy of this database, for example on a developer's machine, would send "
            "its messages a second time, to the same people.",
            hint="Set it to a different name in each environment, 'production' here, and run 'manage.py dsn_adopt'.",
            id="dsn.W044",
        )
        found.append(warning)
    return found


def check_running(*, databases: Sequence[str] | None = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """W045 and W046, by queries of the events' database. Nothing while its tables are missing or out of date."""
    using = outbox()
    # None: 'check --deploy' without --database.
    if databases is not None and using not in databases:
        return []
    try:
        # A savepoint where a transaction is open: on PostgreSQL an error would abort it.
        with transaction.atomic(using=using):
            return list(_of_database(using))
    except Exception as error:
        # No database, or a test that forbids queries. Other checks report the database's errors.
        logger.debug("The state of the workers cannot be read: %s", describe(error))
        return []


def _of_database(using: str) -> Iterator[checks.CheckMessage]:
    if (mismatch := environment.find(using)) is not None:
        yield checks.Warning(str(mismatch), hint=environment.ADOPT, id="dsn.W045")
    if (found := standstill.find(using)) is not None:
        seen = "no worker was ever seen" if found.unseen is None else f"no worker was seen for {_spoken(found.unseen)}"
        runner = conf.current().RUNNER
        yield checks.Warning(
            f"Messages wait for {_spoken(found.late)}, and {seen}: nothing is sent (DSN['RUNNER'] is {runner!r}).",
            hint=_WAYS_OUT.get(runner, f"Keep the workers running that execute the tasks of the runner {runner!r}."),
            id="dsn.W046",
        )


def _spoken(time: datetime.timedelta) -> str:
    seconds = int(time.total_seconds())
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} seconds"
