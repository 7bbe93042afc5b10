"""Purging: what is finished and old goes, a few rows at a time."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.deletion import Collector, get_candidate_relations_to_delete
from django.db.models.signals import post_delete, pre_delete

from dsn_core.models import Delivery, DeliveryPage, Event
from dsn_core.models.sql import OneOf

#: Deliveries whose keys are read at once, and that the events of one page have at most, as far as their rows tell.
KEYS_AT_ONCE: Final = 20_000
#: A rest after a step is so many times as long as the step was, at most so many seconds.
RESTS, LONGEST_REST = 3, 1.0


@dataclass
class Purged:
    """How many rows went, or (of payloads) were emptied."""

    events: int = 0
    deliveries: int = 0
    payloads: int = 0


def finished(using: str, before: datetime.datetime) -> QuerySet[Event]:
    """The events from before that moment that nothing is left to be done about. For counting: see :func:`_finished`."""
    open_ones = Delivery.objects.using(using).unfinished()
    return _ended(using, before).filter(~Exists(open_ones.filter(event=OuterRef("pk"))))


def purge(using: str, before: datetime.datetime, size: int) -> Iterator[Purged]:
    """Delete the finished events from before that moment, with their deliveries, ``size`` rows at most in a statement.

    Yields what each step deleted. Ended in the middle, it leaves whole events, some with fewer deliveries.
    """
    for keys in _finished(_ended(using, before), size):
        for some in _deliveries_of(keys, using, size):
            # Asked again: an operator may have sent one of them once more.
            number, _by_model = Delivery.objects.using(using).finished().filter(OneOf("pk", some)).delete()
            yield Purged(deliveries=number)
        kept = _events_of(Delivery.objects.using(using).filter(OneOf("event_id", keys)))
        if done := [key for key in keys if key not in kept]:
            yield Purged(events=_delete_events(done, using))


def _delete_events(keys: Sequence[int], using: str) -> int:
    """Delete the events ``keys``, which have no delivery left, with what else belongs to them; return how many.

    By Django's collector, which makes an object of each row, only where a signal has receivers, or where other rows
    depend on an event.
    """
    events = Event.objects.using(using).filter(OneOf("pk", keys), not_before__isnull=True)
    collector = Collector(using=using)
    relations: Iterable[Any] = get_candidate_relations_to_delete(Event._meta)  # type: ignore[arg-type]
    parts = [
        (relation.related_model._base_manager.using(using).filter(OneOf(relation.field.attname, keys)), relation.field)
        for relation in relations
        if relation.related_model is not Delivery
    ]
    is_heard = any(signal.has_listeners(Event) for signal in (pre_delete, post_delete))
    if is_heard or not all(collector.can_fast_delete(rows, from_field=field) for rows, field in parts):
        _number, by_model = events.delete()
        return by_model.get(Event._meta.label, 0)
    with transaction.atomic(using=using):
        for rows, _field in parts:
            rows._raw_delete(using)
        return int(events._raw_delete(using))


def empty_payloads(using: str, before: datetime.datetime, size: int) -> Iterator[Purged]:
    """Forget what the signals of finished events said; their deliveries keep their statuses, and cannot be retried."""
    for keys in _finished(_ended(using, before).exclude(payload=""), size):
        rows = Event.objects.using(using).filter(OneOf("pk", keys), not_before__isnull=True)
        yield Purged(payloads=rows.update(payload=""))


def _ended(using: str, before: datetime.datetime) -> QuerySet[Event]:
    return Event.objects.using(using).filter(created_at__lt=before, not_before__isnull=True)


def _finished(ended: QuerySet[Event], size: int) -> Iterator[list[int]]:
    """Keys of those of ``ended`` that have no open delivery, page by page.

    The deliveries are asked by the keys of each page. As part of the query for the page, PostgreSQL may look through
    all deliveries there are, for every page.
    """
    last = 0
    while found := list(ended.filter(pk__gt=last).order_by("pk").values_list("pk", "found")[:size]):
        keys: list[int] = []
        number = 0
        for key, receivers in found:
            number += receivers
            if keys and number > KEYS_AT_ONCE:
                break
            keys.append(key)
        last = keys[-1]
        waiting = _events_of(Delivery.objects.using(ended.db).unfinished().filter(OneOf("event_id", keys)))
        if rest := [key for key in keys if key not in waiting]:
            yield rest


def _events_of(deliveries: QuerySet[Delivery]) -> set[int]:
    return set(deliveries.order_by().values_list("event_id", flat=True).distinct())


def _deliveries_of(events: Sequence[int], using: str, size: int) -> Iterator[list[int]]:
    """Keys of what has ended of the deliveries of ``events``, which are sorted, page by page."""
    # In the order of the index by which they are found, so that no other is taken.
    closed = Delivery.objects.using(using).finished().order_by("event_id").values_list("event_id", "pk")
    while rows := list(closed.filter(OneOf("event_id", events))[:KEYS_AT_ONCE]):
        for start in range(0, len(rows), size):
            yield [key for _, key in rows[start : start + size]]
        if len(rows) < KEYS_AT_ONCE:
            return
        events = [event for event in events if event >= rows[-1][0]]


def gently(steps: Iterable[Purged]) -> Iterator[Purged]:
    """``steps``, with a rest after each: most of the time the database is there for the workers alone."""
    began = time.monotonic()
    for step in steps:
        yield step
        time.sleep(min((time.monotonic() - began) * RESTS, LONGEST_REST))
        began = time.monotonic()


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
