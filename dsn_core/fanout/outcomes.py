"""How the fan-out of an event ends: in its deliveries, in another try, or in a failure."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import Error as DatabaseTrouble
from django.db.models import F

from dsn_core import conf
from dsn_core.exceptions import ConfigurationError, DSNError, PayloadError, UnknownName
from dsn_core.models import Event, Subscription
from dsn_core.models.clock import DatabaseClock, DatabaseNow
from dsn_core.models.delivery import ERROR_LENGTH
from dsn_core.models.sql import storable
from dsn_core.plugins.errors import describe, told
from dsn_core.plugins.kinds import RECEIVER_RESOLVERS
from dsn_core.plugins.registry import registry
from dsn_core.queue import waits
from dsn_core.queue.claiming import Claim

logger = logging.getLogger("dsn_core.fanout")


@dataclass(frozen=True)
class Failure:
    """What one subscription's part of the fan-out raised, and how it is said."""

    error: BaseException
    said: str


def failed(error: BaseException, subscription: Subscription) -> Failure:
    """``error`` with its place in the source of the resolver. What our own errors say is all that there is to say."""
    if isinstance(error, DSNError | DatabaseTrouble):
        return Failure(error, describe(error))
    name = subscription.resolver
    is_known = name in registry.names(RECEIVER_RESOLVERS)
    return Failure(error, told(error, registry.find(RECEIVER_RESOLVERS, name) if is_known else None))


def settle(event: Event, found: int, failures: Sequence[Failure], note: str, claimed: Claim[Event], using: str) -> None:
    """Write down how the fan-out of ``event`` ended, which found so many receivers; ``note`` is for operators."""
    text = storable("; ".join(failure.said for failure in failures), ERROR_LENGTH) or note
    values = {"status": Event.Status.EXPANDED, "not_before": None, "held_since": None}
    if failures:
        values |= _after([failure.error for failure in failures], event, claimed.clock)
    rows = Event.objects.using(using).filter(pk=event.pk, lease_token=claimed.token)
    rows.update(lease_token=None, last_error=text, found=found, **values)


def _after(errors: Sequence[BaseException], event: Event, clock: DatabaseClock) -> dict[str, Any]:
    """When it is tried again, if it is. What lacks a resolver waits for it, and uses up no attempt."""
    if any(isinstance(error, UnknownName) for error in errors):
        now = clock.now()
        if (wait := waits.wait_of(event.held_since, now)) is None:
            return {"status": Event.Status.FAILED}
        held = {"held_since": event.held_since or now, "attempts": max(event.attempts - 1, 0)}
        return {"status": Event.Status.PENDING, "not_before": clock.now(wait), **held}
    lasting = all(isinstance(error, ConfigurationError | PayloadError) for error in errors)
    if lasting or event.attempts >= conf.current().MAX_ATTEMPTS:
        return {"status": Event.Status.FAILED}
    return {"status": Event.Status.PENDING, "not_before": clock.now(waits.backoff(event.attempts))}


def give_back(claimed: Claim[Event], events: Sequence[Event], using: str) -> None:
    """Leave ``events`` to the next worker, as if they had not been claimed."""
    rows = Event.objects.using(using).filter(pk__in=[event.pk for event in events], lease_token=claimed.token)
    rows.update(status=Event.Status.PENDING, not_before=DatabaseNow(), lease_token=None, attempts=F("attempts") - 1)


def give_back_at_once(claimed: Claim[Event], events: Sequence[Event], using: str) -> None:
    """The same while an interrupt is on its way. The attempt of the first counts: it may be what took so long."""
    try:
        first = Event.objects.using(using).filter(pk=events[0].pk, lease_token=claimed.token)
        first.update(status=Event.Status.PENDING, not_before=DatabaseNow(), lease_token=None)
        give_back(claimed, events[1:], using)
    except DatabaseTrouble as error:
        logger.error("%d events are left to the end of their lease: %s", len(events), describe(error))
