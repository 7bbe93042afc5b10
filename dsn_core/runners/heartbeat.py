"""Workers show that they are there, so that it can be said when none is."""

from __future__ import annotations

import datetime
import logging
import os
import socket
import time
from typing import Final

from django.db import Error
from importlib_metadata import PackageNotFoundError, version

from dsn_core.models import WorkerHeartbeat
from dsn_core.models.clock import DatabaseNow
from dsn_core.models.shared import HOST_LENGTH, VERSION_LENGTH
from dsn_core.models.sql import storable
from dsn_core.plugins.errors import describe

logger = logging.getLogger("dsn_core.worker")

#: Seconds between two signs of life.
SECONDS: Final = 10.0
#: After which a process that gave none is forgotten, when another one begins: the last one stays to be seen.
FORGET: Final = datetime.timedelta(hours=1)


class Heartbeat:
    """The row of this process. For one thread."""

    def __init__(self, using: str) -> None:
        self._using = using
        self._key: int | None = None
        self._next = 0.0

    def beat(self) -> None:
        """Show that this process is there; at most one statement in :data:`SECONDS`, but for the first time.

        Not even the database's errors come from it: what else is asked of it says what is wrong.
        """
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + SECONDS
        rows = WorkerHeartbeat.objects.using(self._using)
        try:
            # The row may be gone, after the database was restored from another moment.
            if self._key is None or not rows.filter(pk=self._key).update(seen_at=DatabaseNow()):
                self._key = self._begin()
        except Error as error:
            logger.debug("This worker could not show that it is there: %s", describe(error))

    def _begin(self) -> int:
        rows = WorkerHeartbeat.objects.using(self._using)
        host, process = storable(socket.gethostname(), HOST_LENGTH), os.getpid()
        # One of before in the same place, and what is gone for long.
        rows.filter(host=host, process=process).delete()
        rows.filter(seen_at__lt=DatabaseNow() - FORGET).delete()
        made = rows.create(
            host=host, process=process, version=_version(), started_at=DatabaseNow(), seen_at=DatabaseNow()
        )
        return int(made.pk)


#: Of the runners whose processes belong to another queue, by process and database.
_by_process: dict[tuple[int, str], Heartbeat] = {}


def beat(using: str) -> None:
    """The same for a task in a worker of another queue."""
    _by_process.setdefault((os.getpid(), using), Heartbeat(using)).beat()


def _version() -> str:
    try:
        return storable(version("dsn-core"), VERSION_LENGTH)
    except PackageNotFoundError:
        return ""
