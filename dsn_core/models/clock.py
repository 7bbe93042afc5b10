"""The database's clock, which all workers share; the clocks of their machines may differ by minutes."""

from __future__ import annotations

import datetime
import os
import secrets
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DateTimeField, Func
from django.db.models.sql.compiler import SQLCompiler
from django.utils.timezone import get_default_timezone


class DatabaseNow(Func):
    """The database's current time, in the form in which Django stores times there.

    Django's own ``Now`` is MySQL's session time and SQLite's UTC, even where rows are stored in another time zone.
    """

    output_field = DateTimeField()

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, *args: Any, **context: Any) -> Any:
        return now_sql(connection), ()


def now_sql(connection: BaseDatabaseWrapper) -> str:
    """:class:`DatabaseNow` as SQL, for statements with parameters (percent signs are doubled)."""
    if connection.vendor not in ("mysql", "sqlite"):
        return "STATEMENT_TIMESTAMP()"
    # They have no time zones: the seconds from UTC to the one in which Django stores naive times.
    offset = datetime.datetime.now(connection.timezone or get_default_timezone()).utcoffset()
    seconds = round(offset.total_seconds()) if offset else 0
    if connection.vendor == "mysql":
        # Not CURRENT_TIMESTAMP: that is in the session's time zone, which Django leaves as it is.
        return f"(UTC_TIMESTAMP(6) + INTERVAL {seconds} SECOND)"
    return f"STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW', '{seconds} seconds')"


@dataclass(frozen=True)
class DatabaseClock:
    """The database's time, read once and continued by this process's monotonic clock."""

    read: datetime.datetime
    _at: float = field(default_factory=time.monotonic)

    def now(self, after: float = 0) -> datetime.datetime:
        """The database's time ``after`` seconds from now."""
        return self.read + datetime.timedelta(seconds=time.monotonic() - self._at + after)


_uuid_lock = threading.Lock()
_uuid_last = 0


def _after_fork_in_child() -> None:
    # Another thread of the parent may have held the lock, and does not exist in the child.
    global _uuid_lock  # noqa: PLW0603 - one lock per process
    _uuid_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def uuid7() -> uuid.UUID:
    """A UUID of version 7 (RFC 9562): it begins with the milliseconds since 1970, so that rows are inserted in order.

    Each is greater than the one before in this process: the 12 bits after the milliseconds are their fraction, and
    count up where the clock stands still or goes back. The other 62 bits are random.
    """
    global _uuid_last  # noqa: PLW0603 - one number, under its lock
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    now = milliseconds << 12 | (rest << 12) // 1_000_000
    with _uuid_lock:
        now = _uuid_last = max(now, _uuid_last + 1)
    number = (now >> 12) << 80 | 0x7 << 76 | (now & 0xFFF) << 64 | 0b10 << 62 | secrets.randbits(62)
    return uuid.UUID(int=number)
