"""What waits for something to be installed or mended, for operators. Asks the database, and changes nothing."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Min, QuerySet

from dsn_core.exceptions import DSNError
from dsn_core.models import Delivery, DeliveryPage, Event, MessengerState
from dsn_core.models.subscription import Priority
from dsn_core.plugins.registry import registry
from dsn_core.queue import pages


@dataclass(frozen=True)
class Held:
    """So many rows wait, the first of them since then; ``reason`` is what it lacks."""

    count: int
    since: datetime.datetime
    reason: str


def held_deliveries(messenger: str, using: str) -> Held | None:
    """What of the messenger waits for something to be installed, or for a setting to be mended. None: nothing does."""
    return _held(_open(messenger, using))


def problems(using: str) -> Iterator[str]:
    """A sentence for each messenger of which something waits that an operator has to see to, and for the events."""
    for messenger in MessengerState.objects.using(using).order_by("messenger").values_list("messenger", flat=True):
        if why := _why_not_made(messenger):
            in_pages = pages.count_waiting(DeliveryPage.objects.using(using).filter(messenger=messenger))
            if count := _open(messenger, using).count() + in_pages:
                number = "1 delivery waits" if count == 1 else f"{count} deliveries wait"
                yield f"{number} for the messenger {messenger!r}, which cannot be made here: {why}"
        if held := held_deliveries(messenger, using):
            number = "1 delivery" if held.count == 1 else f"{held.count} deliveries"
            yield f"{number} by {messenger!r} could not be sent, and will be looked at again: {held.reason}"
    if held := _held(Event.objects.using(using).filter(not_before__isnull=False)):
        number = "1 event" if held.count == 1 else f"{held.count} events"
        yield f"The receivers of {number} could not be found, and will be looked for again: {held.reason}"


def _open(messenger: str, using: str) -> QuerySet[Delivery]:
    # With each priority named, so that the claim index is read, which holds the open rows in one place. What is held
    # waits by itself, and in no page.
    return Delivery.objects.using(using).filter(
        messenger=messenger, priority__in=Priority.values, not_before__isnull=False
    )


def _held(rows: QuerySet[Any]) -> Held | None:
    rows = rows.filter(held_since__isnull=False).order_by()
    found = rows.aggregate(count=Count("pk"), since=Min("held_since"))
    if not found["count"]:
        return None
    # Not first(), which orders by the key: PostgreSQL may then walk the whole table for one row.
    reasons = rows.filter(held_since=found["since"]).values_list("last_error", flat=True)[:1]
    return Held(found["count"], found["since"], next(iter(reasons), ""))


def _why_not_made(messenger: str) -> str:
    try:
        registry.messenger(messenger)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        # What others say may quote an option, which only the messenger's options could mask.
        return str(error) if isinstance(error, DSNError) else f"It raised {type(error).__name__}."
    return ""
