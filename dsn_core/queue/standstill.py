"""That something is due, and no worker is there."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Max

from dsn_core.models import WorkerHeartbeat
from dsn_core.models.clock import DatabaseNow
from dsn_core.queue import schedule

#: Seconds for which something is due, and no worker was seen, before that is said.
PATIENCE: Final = 60.0


@dataclass(frozen=True)
class Standstill:
    """``late``: how long the oldest is due. ``unseen``: how long ago a worker was seen; None: never."""

    late: datetime.timedelta
    unseen: datetime.timedelta | None


def find(using: str) -> Standstill | None:
    """Whether work waits in the database ``using`` and no worker was seen; None when all goes its way.

    What waits for a pause or a rate is not due. Counts by the database's clock. One query while a worker is there, else
    three.
    """
    seen: Any = WorkerHeartbeat.objects.using(using).aggregate(at=Max("seen_at"), now=Max(DatabaseNow()))
    unseen = None if seen["at"] is None else seen["now"] - seen["at"]
    if unseen is not None and unseen.total_seconds() < PATIENCE:
        return None
    late = max([*schedule.seconds_overdue(using).values(), schedule.seconds_since_first_event(using) or 0.0])
    if late < PATIENCE:
        return None
    return Standstill(datetime.timedelta(seconds=late), unseen)
