"""That something is due, and nobody is there who does it."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Max

from dsn_core.models import Event, WorkerHeartbeat
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
    late = max([*schedule.seconds_overdue(using).values(), _oldest_event(using)])
    if late < PATIENCE:
        return None
    return Standstill(datetime.timedelta(seconds=late), unseen)


def _oldest_event(using: str) -> float:
    """Seconds since the oldest event fell due; 0.0 when none is."""
    events = Event.objects.using(using).filter(not_before__isnull=False).order_by("not_before", "id")
    first: Any = events.values_list("not_before", DatabaseNow()).first()
    return 0.0 if first is None else max((first[1] - first[0]).total_seconds(), 0.0)
