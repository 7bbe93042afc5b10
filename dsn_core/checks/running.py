"""Checks of whether messages are sent. They query the database, with ``--deploy`` and ``dsn_plugins --check``."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Iterator, Sequence
from typing import Any, Final

from django.core import checks
from django.db import transaction

from dsn_core import conf
from dsn_core.intake.record import outbox
from dsn_core.plugins.errors import describe
from dsn_core.queue import environment, standstill

logger = logging.getLogger("dsn_core.checks")

_WAYS_OUT: Final = {
    "immediate": "Keep 'manage.py dsn_worker' running: retries and unfinished deliveries wait for it.",
    "worker": "Keep 'manage.py dsn_worker' running, under a supervisor that restarts it.",
}


def check_running(*, databases: Sequence[str] | None = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """W045 and W046, of the events' database. Nothing when it cannot be reached."""
    using = outbox()
    # None: 'check --deploy' without --database.
    return messages(using) if databases is None or using in databases else []


def messages(using: str) -> list[checks.CheckMessage]:
    """:func:`check_running` for one database. Nothing while its tables are missing or out of date."""
    try:
        # A savepoint where a transaction is open: on PostgreSQL an error would abort it.
        with transaction.atomic(using=using):
            return [*_of_environment(using), *_of_workers(using)]
    except Exception as error:
        # No database, or a test that forbids queries. Other checks report the database's errors.
        logger.debug("The state of the workers cannot be read: %s", describe(error))
        return []


def _of_environment(using: str) -> Iterator[checks.CheckMessage]:
    if (found := environment.find(using)) is not None:
        yield checks.Warning(str(found), hint=environment.ADOPT, id="dsn.W045")


def _of_workers(using: str) -> Iterator[checks.CheckMessage]:
    found = standstill.find(using)
    if found is None:
        return
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
