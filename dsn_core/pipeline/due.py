"""Looking ahead: who has work that is due, and when the next falls due. Nothing is claimed."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any

from django.db.models import Exists, OuterRef, Q, Subquery

from dsn_core.models import Delivery, Event, MessengerState
from dsn_core.models.clock import DatabaseNow
from dsn_core.models.subscription import Priority


def due_messengers(using: str) -> list[str]:
    """The messengers (or accounts) with deliveries that are due, but for those that pause. One query.

    One that waits for its rate is among them: whoever sends by it waits that long.
    """
    now = DatabaseNow()
    due = Delivery.objects.using(using).filter(
        messenger=OuterRef("messenger"), priority__in=Priority.values, not_before__lte=now
    )
    known = MessengerState.objects.using(using).filter(Q(paused_until=None) | Q(paused_until__lte=now), Exists(due))
    return list(known.values_list("messenger", flat=True))


def seconds_until_due(using: str) -> float | None:
    """Seconds until the next event or delivery is due, 0.0 when one is now, None when none is open. Two queries.

    Counts by the database's clock. What a worker holds is due at the end of its lease; what waits for
    a messenger's pause or rate, at the end of that.
    """
    # Each of these is the first entry of its part of the claim index, however many rows are open.
    firsts = {f"next_{priority}": Subquery(_first_of(using, priority)) for priority in Priority.values}
    states = MessengerState.objects.using(using).annotate(database_now=DatabaseNow(), **firsts)
    waits = [wait for state in states if (wait := _wait_of(state)) is not None]
    events = Event.objects.using(using).filter(not_before__isnull=False).annotate(database_now=DatabaseNow())
    first: Any = events.order_by("not_before", "id").values_list("not_before", "database_now").first()
    if first is not None:
        waits.append(_seconds(*first))
    return min(waits, default=None)


def now(using: str) -> float:
    """Seconds since 1970 by the database's clock; 0.0 while no messenger is known, when nothing waits either."""
    moment = MessengerState.objects.using(using).values_list(DatabaseNow(), flat=True).first()
    return moment.timestamp() if moment else 0.0


def _first_of(using: str, priority: int) -> Any:
    open_rows = Delivery.objects.using(using).filter(
        messenger=OuterRef("messenger"), priority=priority, not_before__isnull=False
    )
    return open_rows.order_by("not_before", "id").values("not_before")[:1]


def _wait_of(state: Any) -> float | None:
    firsts: Iterable[datetime.datetime | None] = [getattr(state, f"next_{priority}") for priority in Priority.values]
    moments = [moment for moment in firsts if moment is not None]
    if not moments:
        return None
    rests = [moment for moment in (state.paused_until, state.rate_next_at) if moment is not None]
    return _seconds(max(min(moments), *rests) if rests else min(moments), state.database_now)


def _seconds(moment: datetime.datetime, now: datetime.datetime) -> float:
    return max((moment - now).total_seconds(), 0.0)
