"""An edit of a trigger costs the same, however many there are."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import transaction

from bench.data import about, listen
from bench.measure import Queries
from bench.models import Busy, Plain
from bench.rows import Size
from bench.table import Row, counts
from dsn_core.models import Subscription, Trigger

KINDS = ("key", "target", "condition")
BOUND = 10


def measure(size: Size) -> Iterator[Row]:
    """Queries with 10 triggers (the control) and with 1,000, everything counted up to the commit."""
    listen(about(Busy, 10, KINDS))
    few = _edit("first")
    listen(about(Plain, 990, KINDS))
    many = _edit("second")
    for name, with_ten in few.items():
        yield counts(f"queries: {name}", with_ten, many[name], BOUND)


def _edit(target: str) -> dict[str, int]:
    found = {}
    with Queries() as queries:
        trigger = Trigger.objects.define("post_save", action_object=Plain, target=target)
    found["create a trigger"] = queries.number
    with Queries() as queries:
        subscription = Subscription.objects.create(trigger=trigger)
    found["subscribe to it"] = queries.number
    trigger = Trigger.objects.get(pk=trigger.pk)
    with Queries() as queries:
        trigger.target = f"{target} edited"
        trigger.save()
    found["edit it"] = queries.number
    with Queries() as queries, transaction.atomic():
        trigger.enabled = False
        trigger.save()
    found["switch it off, in atomic()"] = queries.number
    with Queries() as queries:
        subscription.enabled = False
        subscription.save()
    found["switch off a subscription"] = queries.number
    return found
