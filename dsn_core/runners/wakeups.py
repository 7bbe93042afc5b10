"""The one task that the runner ``tasks`` puts into the queue. Importable where the setting TASKS works.

Django Tasks comes from Django itself from 6.0 on, before that from the django-tasks backport. Importing this raises
``ModuleNotFoundError`` where there is neither.
"""

from __future__ import annotations

import datetime
import time
from importlib import import_module
from typing import Any, Final

import django
from django.utils import timezone

from dsn_core.queue import schedule
from dsn_core.runners import driver, heartbeat
from dsn_core.sending import sender

_PACKAGE: Final = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"
_tasks: Any = import_module(_PACKAGE)
#: The backends that run nothing apart from the caller.
ImmediateBackend: type = import_module(f"{_PACKAGE}.backends.immediate").ImmediateBackend
DummyBackend: type = import_module(f"{_PACKAGE}.backends.dummy").DummyBackend

#: Seconds that one task works, so that tasks of others have their turn.
SECONDS: Final = 20.0
#: Seconds that an appointment is late, because this machine's clock is not quite the database's.
MARGIN: Final = 1.0


@_tasks.task  # type: ignore[untyped-decorator]  # whichever package it comes from
def work_off(using: str, due_at: float = 0.0) -> None:
    """Do what is due in the database ``using``, and see to it that another task comes back for what is left.

    A task that found nothing makes no appointment: the task that did the work has made one. So there are never more
    appointments than tasks that did something, and they come to an end with the work. One that came before its time,
    because this machine's clock is ahead of the database's, makes its own again: ``due_at`` is when it was to come, in
    seconds since 1970 by the database's clock.
    """
    heartbeat.beat(using)
    end = time.monotonic() + SECONDS
    found_something = driver.drain(using, seconds=SECONDS) or time.monotonic() >= end
    backend = _tasks.task_backends[_tasks.DEFAULT_TASK_BACKEND_ALIAS]
    if not backend.supports_defer or not (found_something or schedule.now(using) < due_at):
        return
    wait = schedule.seconds_until_due(using, without=sender.unmade())
    if wait is None:
        return
    if not wait:
        work_off.enqueue(using)
        return
    later = timezone.now() + datetime.timedelta(seconds=wait + MARGIN)
    work_off.using(run_after=later).enqueue(using, schedule.now(using) + wait)
