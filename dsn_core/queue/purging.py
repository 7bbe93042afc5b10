"""Purging: what is finished and old goes, a few rows at a time."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet

from dsn_core.models import Delivery, DeliveryPage, Event


@dataclass
class Purged:
    """How many rows went, or (of payloads) were emptied."""

    events: int = 0
    deliveries: int = 0
    payloads: int = 0


def finished(using: str, before: datetime.datetime) -> QuerySet[Event]:
    """The events from before that moment that nothing is left to be done about."""
    is_open = Delivery.objects.using(using).unfinished().filter(event=OuterRef("pk"))
    events = Event.objects.using(using).filter(created_at__lt=before, not_before__isnull=True)
    return events.filter(~Exists(is_open))


def purge(using: str, before: datetime.datetime, size: int) -> Iterator[Purged]:
    """Delete the finished events from before that moment, with their deliveries, ``size`` rows at most in a statement.

    Yields what each step deleted. Ended in the middle, it leaves whole events, some with fewer deliveries.
    """
    deliveries = Delivery.objects.using(using)
    for keys in _pages(finished(using, before), size):
        while some := list(deliveries.finished().filter(event__in=keys).values_list("pk", flat=True)[:size]):
            # Asked again: an operator may have sent one of them once more.
            number, _by_model = deliveries.finished().filter(pk__in=some).delete()
            yield Purged(deliveries=number)
        done = Event.objects.using(using).filter(pk__in=keys, not_before__isnull=True)
        done = done.filter(~Exists(deliveries.filter(event=OuterRef("pk"))))
        _number, by_model = Event.objects.using(using).filter(pk__in=list(done.values_list("pk", flat=True))).delete()
        yield Purged(events=by_model.get(Event._meta.label, 0))


def empty_payloads(using: str, before: datetime.datetime, size: int) -> Iterator[Purged]:
    """Forget what the signals of finished events said; their deliveries keep their statuses, and cannot be retried."""
    for keys in _pages(finished(using, before).exclude(payload=""), size):
        rows = Event.objects.using(using).filter(pk__in=keys, not_before__isnull=True)
        yield Purged(payloads=rows.update(payload=""))


def purge_waiting(using: str, size: int) -> Iterator[Purged]:
    """Delete what waits to be sent, and the events that wait to be expanded, ``size`` rows at most in a statement.

    What has ended stays. Yields what each step deleted.
    """
    deliveries = Delivery.objects.using(using).unfinished()
    for keys in _pages(deliveries, size):
        number, _by_model = deliveries.filter(pk__in=keys).delete()
        yield Purged(deliveries=number)
    for keys in _pages(DeliveryPage.objects.using(using), size):
        DeliveryPage.objects.using(using).filter(pk__in=keys).delete()
    events = Event.objects.using(using).filter(not_before__isnull=False)
    for keys in _pages(events, size):
        _number, by_model = events.filter(pk__in=keys).delete()
        yield Purged(
            events=by_model.get(Event._meta.label, 0),
            # Of one whose fan-out had begun, those that were sent.
            deliveries=by_model.get(Delivery._meta.label, 0),
        )


def _pages(rows: QuerySet[Any], size: int) -> Iterator[list[Any]]:
    """Keys of ``rows``, page by page, in the order in which they were made."""
    last = 0
    while keys := list(rows.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:size]):
        yield keys
        last = keys[-1]
