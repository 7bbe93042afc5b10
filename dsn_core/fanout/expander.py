"""Fan-out: an event becomes one delivery per backend and receiver."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth import get_user_model
from django.db import Error
from django.db.models import Exists, F, OuterRef, Prefetch, QuerySet, prefetch_related_objects

from dsn_core import conf, context
from dsn_core._django import is_interrupt
from dsn_core.contracts.receivers import Receiver
from dsn_core.exceptions import ConfigurationError
from dsn_core.fanout import expiry, outcomes
from dsn_core.fanout.outcomes import Failure
from dsn_core.fanout.receivers import Chunk, chunks_of, members_of, pages_of_users
from dsn_core.masking import exc_info
from dsn_core.models import Backend, Delivery, Event, MessengerState, Subscription, SubscriptionAddress
from dsn_core.models.clock import DatabaseClock, DatabaseNow
from dsn_core.models.delivery import NO_ADDRESS, address_key
from dsn_core.plugins.calls import reraise_interrupt, tidied
from dsn_core.plugins.errors import describe
from dsn_core.plugins.registry import registry
from dsn_core.queue import inserting, schedule
from dsn_core.queue.claiming import Claim, chunks, claim
from dsn_core.queue.pages import FEWEST, paged

logger = logging.getLogger("dsn_core.fanout")

EVENTS_PER_CLAIM = 50
#: From so many users on the database makes their deliveries: a row made here costs as much as eight made there.
MANY_USERS = 100
#: Seconds of one event's fan-out between two notes of how far it came.
NOTE_SECONDS = 0.1
NOBODY_SUBSCRIBED = "Nothing was to be done: the trigger was deleted or disabled meanwhile, or nobody subscribes to it."


class _Stopped(Exception):
    """Asked to stop in the middle of an event. What was made of it stays, and is not made again."""


def expand_due(using: str, stop: Callable[[], bool] = lambda: False) -> int:
    """Claim due events and make their deliveries; return how many events were worked on.

    ``stop()`` is asked before each, and before each statement that makes some: what is left then is given back.
    """
    return Expander(using, stop).work()


class Expander:
    """Makes the deliveries of due events, one claim after the other.

    ``made()`` is called after each statement that made some: these can go out while others are made.
    """

    def __init__(
        self, using: str, stop: Callable[[], bool] = lambda: False, made: Callable[[], None] = lambda: None
    ) -> None:
        self._using = using
        self._stop = stop
        self._made = made
        self._claimed: Claim[Event] | None = None
        #: Those of the claim that were not begun.
        self._rest: Sequence[Event] = ()

    def work(self) -> int:
        """One claim; see :func:`expand_due`."""
        try:
            return self._work(self._using)
        finally:
            self._claimed = None

    @property
    def is_at_work(self) -> bool:
        """Whether it has events."""
        return self._claimed is not None

    def _work(self, using: str) -> int:
        if not schedule.has_events(using):
            return 0
        claimed = claim(Event.objects.using(using), limit=EVENTS_PER_CLAIM, status=Event.Status.EXPANDING)
        if claimed is None:
            return 0
        self._claimed = claimed
        plans = _Plans(using)
        for number, event in enumerate(claimed.rows):
            self._rest = claimed.rows[number + 1 :]
            expansion = _Expansion(event, claimed, claimed.rows[number:], using, self._stop, self._made)
            try:
                expansion.go_on()
                subscriptions = plans.of(event.trigger_id)
                failures = expansion.run(subscriptions)
                note = "" if subscriptions else NOBODY_SUBSCRIBED
                outcomes.settle(event, expansion.found, failures, note, claimed, using)
            except _Stopped:
                _give_back(claimed, claimed.rows[number:], using)
                return number
            except BaseException as error:
                if is_interrupt(error):
                    _give_back_at_once(claimed, claimed.rows[number:], using)
                raise
        return len(claimed.rows)

    def give_back_rest(self) -> None:
        """Leave what was not begun to others, from another thread than the one that hangs."""
        if self._claimed is not None and self._rest:
            _give_back(self._claimed, self._rest, self._using)


@dataclass
class _Plans:
    """The enabled subscriptions of triggers, read once per claim."""

    using: str
    _read: dict[int, list[Any]] = field(default_factory=dict)

    def of(self, trigger_id: int) -> list[Any]:
        """Its subscriptions, each with ``has_addresses`` and ``has_groups``: what it has not is not asked for."""
        if trigger_id not in self._read:
            found: list[Any] = list(self._subscriptions(trigger_id))
            self._read[trigger_id] = found
            prefetch_related_objects([item for item in found if item.has_addresses], "addresses")
            prefetch_related_objects([item for item in found if item.has_groups], "groups")
            MessengerState.objects.using(self.using).make_known(
                backend.messenger for item in found for backend in item.backends.all() if not backend.is_known
            )
        return self._read[trigger_id]

    def _subscriptions(self, trigger_id: int) -> QuerySet[Subscription]:
        known = MessengerState.objects.using(self.using).filter(messenger=OuterRef("messenger"))
        addresses = SubscriptionAddress.objects.using(self.using).filter(subscription=OuterRef("pk"))
        groups = Subscription.groups.through._base_manager.using(self.using).filter(subscription=OuterRef("pk"))
        return (
            Subscription.objects.using(self.using)
            .filter(trigger=trigger_id, trigger__enabled=True, enabled=True)
            .annotate(has_addresses=Exists(addresses), has_groups=Exists(groups))
            .prefetch_related(Prefetch("backends", Backend.objects.annotate(is_known=Exists(known))))
        )


@dataclass
class _Expansion:
    """One event's fan-out. ``held`` are the event and those of its claim that come after it."""

    event: Event
    claimed: Claim[Event]
    held: Sequence[Event]
    using: str
    stop: Callable[[], bool]
    made: Callable[[], None]
    #: How many receivers the subscriptions found.
    found: int = 0
    _noted_at: float = field(default_factory=time.monotonic)

    def run(self, subscriptions: Sequence[Subscription]) -> list[Failure]:
        """Make the event's deliveries. One subscription that fails does not keep the others from theirs."""
        limit = conf.current().MAX_ATTEMPTS
        if self.event.attempts > limit:
            said = f"Given up: {limit} workers ended, or lost the event, during its fan-out."
            return [Failure(ConfigurationError(said), said)]
        failures: list[Failure] = []
        for subscription in subscriptions:
            try:
                with context.working_on(self.event.depth):
                    self._expand(subscription)
            except _Stopped:
                raise
            except BaseException as error:
                reraise_interrupt(error)
                failure = outcomes.failed(error, subscription)
                said = "Event %s, %s: the fan-out failed: %s"
                logger.warning(said, self.event.pk, subscription, failure.said, exc_info=exc_info(error))
                failures.append(failure)
        return failures

    def _expand(self, subscription: Any) -> None:
        backends = list(subscription.backends.all())
        patterns = {backend.pk: _pattern(self.event, backend, subscription, self.claimed.clock) for backend in backends}
        if not backends:
            return
        self._insert_users(subscription.users.using(self.using).all(), patterns.values())
        if subscription.has_groups:
            groups = [group.pk for group in subscription.groups.all()]
            self._insert_users(members_of(groups, self.using), patterns.values())
        if subscription.has_addresses:
            bare = [Receiver(messenger=row.messenger, address=row.address) for row in subscription.addresses.all()]
            self._insert_chunk(Chunk([], bare), backends, patterns)
        if subscription.resolver:
            self._insert_resolved(subscription, backends, patterns)
        _add_calls(self.event, backends, patterns, self.using)

    def _insert_resolved(
        self, subscription: Subscription, backends: Sequence[Backend], patterns: Mapping[int, Delivery]
    ) -> None:
        who = f"receiver resolver {subscription.resolver!r}"
        with tidied(who):
            resolver = registry.receiver_resolver(subscription.resolver)
            resolved = resolver.resolve(self.event, subscription.argument)
        # A generator runs while its receivers are inserted.
        with tidied(who) as before:
            for chunk in chunks_of(resolved, subscription.resolver):
                self._insert_chunk(chunk, backends, patterns)
        if before.rolled_back:
            raise ConfigurationError(
                f"The {who} left a transaction open, in which its deliveries were made: they were rolled back with it. "
                "Mend it, then expand the event again: in the admin, or by Event.objects.retry()."
            )

    def _insert_users(self, users: QuerySet[Any], patterns: Collection[Delivery]) -> None:
        """Deliveries for all of ``users``, by the database alone."""
        for number, page in pages_of_users(users):
            self.found += number
            for pattern in patterns:
                self.go_on()
                with _waiting_like(pattern, number, self.using) as waiting:
                    inserting.insert_for_users(waiting, page, self.using)
                self.made()

    def _insert_chunk(self, chunk: Chunk, backends: Sequence[Backend], patterns: Mapping[int, Delivery]) -> None:
        if chunk.users or chunk.addresses:
            self.found += len(chunk.users) + len(chunk.addresses)
            self.go_on()
            for messenger, number in chunk.unserved(backends).items():
                said = (
                    "Event %s: %d addresses for the messenger %r get nothing: no backend of the subscription is for it."
                )
                logger.warning(said, self.event.pk, number, messenger)
            _insert_chunk(chunk, backends, patterns, self.using)
            self.made()

    def go_on(self) -> None:
        """Hold on to the events. Raises :class:`_Stopped` where the work is to end, or others have taken them over."""
        if self.stop() or not self.claimed.keep(self.held, self.using):
            raise _Stopped
        if self.found > self.event.found and time.monotonic() - self._noted_at >= NOTE_SECONDS:
            self._note()

    def _note(self) -> None:
        """Write down how far it came. Who comes further than all before uses up no attempt.

        What ends its workers at the same place each time is given up; what is only interrupted comes to an end.
        """
        self._noted_at = time.monotonic()
        self.event.found, self.event.attempts = self.found, 1
        rows = Event.objects.using(self.using).filter(pk=self.event.pk, lease_token=self.claimed.token)
        rows.update(found=self.found, attempts=1)


def _pattern(event: Event, backend: Backend, subscription: Subscription, clock: DatabaseClock) -> Delivery:
    now = clock.now()
    return Delivery(
        event_id=event.pk,
        backend_id=backend.pk,
        occurrence=event.occurrence,
        messenger=backend.messenger,
        priority=subscription.priority,
        expires_at=expiry.end_of(event, backend, subscription),
        not_before=now,
        created_at=now,
    )


def _due_like(pattern: Delivery, **values: Any) -> Delivery:
    return pattern.like(not_before=pattern.not_before, page_key=pattern.page_key, **values)


def _waiting_like(pattern: Delivery, number: int, using: str) -> AbstractContextManager[Delivery]:
    """The pattern for an INSERT of about so many deliveries: many wait in pages, few by themselves."""
    return paged(pattern, using) if number >= FEWEST and _takes_pages(pattern.messenger) else nullcontext(pattern)


def _takes_pages(messenger: str) -> bool:
    """Not of a messenger that gets all users of an event at once; it may be one that is not installed here."""
    try:
        return not registry.messenger_class(messenger).sends_itself
    except ConfigurationError:
        return False


def _insert_chunk(chunk: Chunk, backends: Sequence[Backend], patterns: Mapping[int, Delivery], using: str) -> None:
    for backend in backends:
        addresses = [receiver.address for receiver in chunk.addresses if backend.accepts(receiver.messenger)]
        users = chunk.users
        with _waiting_like(patterns[backend.pk], len(users) + len(addresses), using) as pattern:
            if len(users) >= MANY_USERS:
                for keys in chunks(users):
                    some = get_user_model()._base_manager.using(using).filter(pk__in=keys)
                    inserting.insert_for_users(pattern, some, using)
                users = ()
            rows = [_due_like(pattern, user_id=key) for key in users]
            rows += [_due_like(pattern, address=one, address_key=address_key(one)) for one in addresses]
            inserting.insert(rows, using)


def _add_calls(event: Event, backends: Sequence[Backend], patterns: Mapping[int, Delivery], using: str) -> None:
    """A seed-style messenger is called even when nobody is named: it may choose its users itself."""
    for backend in backends:
        try:
            itself = registry.messenger_class(backend.messenger).sends_itself
        except ConfigurationError:
            continue
        made = Delivery.objects.using(using).filter(occurrence=event.occurrence, backend=backend, address="")
        if itself and not made.exists():
            inserting.insert([_due_like(patterns[backend.pk], address_key=address_key(NO_ADDRESS))], using)


def _give_back(claimed: Claim[Event], events: Sequence[Event], using: str) -> None:
    """Leave ``events`` to the next worker, as if they had not been claimed."""
    rows = Event.objects.using(using).filter(pk__in=[event.pk for event in events], lease_token=claimed.token)
    rows.update(status=Event.Status.PENDING, not_before=DatabaseNow(), lease_token=None, attempts=F("attempts") - 1)


def _give_back_at_once(claimed: Claim[Event], events: Sequence[Event], using: str) -> None:
    """The same while an interrupt is on its way. The attempt of the first counts: it may be what took so long."""
    try:
        first = Event.objects.using(using).filter(pk=events[0].pk, lease_token=claimed.token)
        first.update(status=Event.Status.PENDING, not_before=DatabaseNow(), lease_token=None)
        _give_back(claimed, events[1:], using)
    except Error as error:
        logger.error("%d events are left to the end of their lease: %s", len(events), describe(error))
