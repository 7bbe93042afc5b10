"""PostgreSQL's NOTIFY: workers hear at once of new work, without asking for it all the time."""

from __future__ import annotations

import logging
import select
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from dsn_core.plugins.errors import describe

logger = logging.getLogger("dsn_core.worker")

#: Notices are heard by all that listen in the same database.
CHANNEL: Final = "dsn_core"
#: Seconds between two looks at whether to go on, and before another try when the connection broke.
STEP_SECONDS: Final = 1.0


def send(using: str) -> None:
    """Tell the workers of the database ``using`` that there is work. On others than PostgreSQL they ask themselves."""
    connection = connections[using]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"NOTIFY {CHANNEL}")


def listen(using: str, heard: Callable[[], None], stop: Callable[[], bool]) -> None:
    """Call ``heard`` for what others sent, where the database can tell. A daemon thread with its own connection.

    What it misses (the connection broke, a pooler hands transactions round) the worker finds by itself.
    """
    if connections[using].vendor == "postgresql":
        threading.Thread(target=_listen, args=(using, heard, stop), name="dsn notices", daemon=True).start()


def _listen(using: str, heard: Callable[[], None], stop: Callable[[], bool]) -> None:
    while not stop():
        connection = connections[using].copy()
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"LISTEN {CHANNEL}")
            # Whatever came before we listened.
            heard()
            while not stop():
                if _has_come(connection):
                    heard()
        except Exception as error:
            logger.debug("Notices cannot be heard, for now: %s", describe(error))
            time.sleep(STEP_SECONDS)
        finally:
            connection.close()


def _has_come(connection: BaseDatabaseWrapper) -> bool:
    """Whether a notice came within :data:`STEP_SECONDS`. By what both psycopg 2 and every psycopg 3 have."""
    raw: Any = connection.connection
    if not select.select([raw], [], [], STEP_SECONDS)[0]:
        return False
    if hasattr(raw, "poll"):
        raw.poll()
        came = bool(raw.notifies)
        raw.notifies.clear()
        return came
    raw.pgconn.consume_input()
    # All of them, of which one is enough.
    return bool([*iter(raw.pgconn.notifies, None)])
