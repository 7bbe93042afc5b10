"""Fan-out: an event becomes one delivery per backend and receiver."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import QuerySet

from dsn_core import conf, context
from dsn_core._django import is_interrupt
from dsn_core.contracts.receivers import Receiver
from dsn_core.contracts.spans import parse_expiry
from dsn_core.exceptions import ConfigurationError
from dsn_core.fanout import outcomes
from dsn_core.fanout.outcomes import Failure
from dsn_core.fanout.receivers import Chunk, chunks_of, members_of, pages_of_users, subscriptions_of
from dsn_core.masking import exc_info
from dsn_core.models import Backend, Delivery, Event, Subscription
from dsn_core.models.delivery import NO_ADDRESS, address_key
from dsn_core.plugins.calls import reraise_interrupt, tidied
from dsn_core.plugins.registry import registry
from dsn_core.queue import inserting, schedule
from dsn_core.queue.claiming import Claim, Work, chunks, claim
from dsn_core.queue.pages import FEWEST, paged

logger = logging.getLogger("dsn_core.fanout")

EVENTS_PER_CLAIM = 50
#: From so many users on the database makes their deliveries: a row made here costs as much as eight made there.
MANY_USERS = 100
#: Seconds of one event's fan-out between two notes of how far it came.
NOTE_SECONDS = 0.1
#: Seconds of making deliveries after which the threads that send are told of the first.
TELL_SECONDS = 0.1
NOTHING_SUBSCRIBED = "Nothing was to be done: the trigger was deleted or disabled meanwhile, or has no subscription."


class _Stopped(Exception):
    """Asked to stop in the middle of an event. What was made of it stays, and is not made again."""


def expand_due(using: str, stop: Callable[[], bool] = lambda: False) -> int:
    """Claim due events and make their deliveries; return how many events were worked on.

    ``stop()`` is asked before each, and before each statement that makes some: what is left then is given back.
    """
    return Expander(using, stop).work().done


class Expander:
    """Makes the deliveries of due events, one claim after the other.

    ``made()`` is called now and then while it makes deliveries for many: the first can go out before the last is made.
    """

    #: Part of a lease without a sign of life after which a worker gives its thread up.
    patience = 1.0

    def __init__(
        self, using: str, stop: Callable[[], bool] = lambda: False, made: Callable[[], None] = lambda: None
    ) -> None:
        self._using = using
        self._stop = stop
        self._made = made
        self._claimed: Claim[Event] | None = None
        #: Those of the claim that were not begun.
        self._rest: Sequence[Event] = ()
        self._alive_at: float | None = None
        self._told_at = 0.0

    def work(self) -> Work:
        """One claim; see :func:`expand_due`."""
        using = self._using
        if not schedule.has_events(using):
            return Work()
        claimed = claim(Event.objects.using(using), limit=EVENTS_PER_CLAIM, status=Event.Status.EXPANDING)
        if claimed is None:
            return Work()
        self._claimed, self._told_at = claimed, time.monotonic()
        plans: dict[int, list[Any]] = {}
        try:
            for number, event in enumerate(claimed.rows):
                held = claimed.rows[number:]
                self._rest = held[1:]
                expansion = _Expansion(event, claimed, held, using, self._go_on, self._tell)
                try:
                    expansion.go_on()
                    if event.trigger_id not in plans:
                        plans[event.trigger_id] = subscriptions_of(event.trigger_id, using)
                    failures = expansion.run(plans[event.trigger_id])
                    note = "" if plans[event.trigger_id] else NOTHING_SUBSCRIBED
                    outcomes.settle(event, expansion.found, failures, note, claimed, using)
                except _Stopped:
                    outcomes.give_back(claimed, held, using)
                    return Work(number)
                except BaseException as error:
                    if is_interrupt(error):
                        outcomes.give_back_at_once(claimed, held, using)
                    raise
            return Work(len(claimed.rows))
        finally:
            self._claimed = self._alive_at = None

    def _go_on(self) -> bool:
        self._alive_at = time.monotonic()
        return self._stop()

    def _tell(self) -> None:
        if time.monotonic() - self._told_at >= TELL_SECONDS:
            self._told_at = time.monotonic()
            self._made()

    # For the thread that watches over this one

    def silent_since(self) -> float | None:
        """When its work last showed that it goes on, by ``time.monotonic()``; None while it has nothing."""
        return self._alive_at

    def is_stuck(self) -> bool:
        """Whether what was done cannot be written down, for now."""
        return False

    def give_up(self, seconds: float) -> None:
        """Give back the events that were not begun. The lease of the one that hangs ends, and its attempt counts."""
        if self._claimed is not None and self._rest:
            outcomes.give_back(self._claimed, self._rest, self._using)


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
        patterns = [self._pattern(backend, subscription) for backend in subscription.backends.all()]
        if not patterns:
            return
        self._insert_users(subscription.users.using(self.using).all(), patterns)
        if subscription.has_groups:
            groups = [group.pk for group in subscription.groups.all()]
            self._insert_users(members_of(groups, self.using), patterns)
        if subscription.has_addresses:
            bare = [Receiver(messenger=row.messenger, address=row.address) for row in subscription.addresses.all()]
            self._insert_chunk(Chunk([], bare), patterns)
        if subscription.resolver:
            self._insert_resolved(subscription, patterns)
        for pattern in patterns:
            # It is called even when no receiver is named: it may choose its users itself.
            if _sends_itself(pattern.messenger):
                made = Delivery.objects.using(self.using).filter(
                    occurrence=self.event.occurrence, backend=pattern.backend_id, address=""
                )
                if not made.exists():
                    inserting.insert([_due_like(pattern, address_key=address_key(NO_ADDRESS))], self.using)

    def _pattern(self, backend: Backend, subscription: Subscription) -> Delivery:
        """What all deliveries by ``backend`` are like. They expire as the subscription says, else as the template."""
        expires = subscription.expires
        if not expires:
            # Where the template is not installed, rendering will say so.
            with contextlib.suppress(ConfigurationError):
                expires = registry.message_template(backend.message_template).expires
        span = parse_expiry(expires)
        now = self.claimed.clock.now()
        return Delivery(
            event_id=self.event.pk,
            backend=backend,
            occurrence=self.event.occurrence,
            messenger=backend.messenger,
            priority=subscription.priority,
            expires_at=None if span is None else self.event.created_at + span,
            not_before=now,
            created_at=now,
        )

    def _insert_resolved(self, subscription: Subscription, patterns: Sequence[Delivery]) -> None:
        owner = f"receiver resolver {subscription.resolver!r}"
        with tidied(owner):
            resolver = registry.receiver_resolver(subscription.resolver)
            resolved = resolver.resolve(self.event, subscription.argument)
        # A generator runs while its receivers are inserted.
        with tidied(owner) as before:
            for chunk in chunks_of(resolved, subscription.resolver):
                self._insert_chunk(chunk, patterns)
        if before.rolled_back:
            raise ConfigurationError(
                f"The {owner} left a transaction open, in which its deliveries were made: they were rolled back with "
                "it. Mend it, then expand the event again: in the admin, or by Event.objects.retry()."
            )

    def _insert_users(self, users: QuerySet[Any], patterns: Sequence[Delivery]) -> None:
        """Deliveries for all of ``users``, by the database alone."""
        for number, page in pages_of_users(users):
            self.found += number
            for pattern in patterns:
                self.go_on()
                with self._waiting_like(pattern, number) as waiting:
                    inserting.insert_for_users(waiting, page, self.using)
                self.made()

    def _insert_chunk(self, chunk: Chunk, patterns: Sequence[Delivery]) -> None:
        if not (chunk.users or chunk.addresses):
            return
        self.found += len(chunk.users) + len(chunk.addresses)
        self.go_on()
        for messenger, number in chunk.unserved([pattern.backend for pattern in patterns]).items():
            said = "Event %s: %d addresses for the messenger %r get nothing: no backend of the subscription is for it."
            logger.warning(said, self.event.pk, number, messenger)
        for like_this in patterns:
            accepts = like_this.backend.accepts
            addresses = [receiver.address for receiver in chunk.addresses if accepts(receiver.messenger)]
            users = chunk.users
            with self._waiting_like(like_this, len(users) + len(addresses)) as pattern:
                if len(users) >= MANY_USERS:
                    for keys in chunks(users):
                        some = get_user_model()._base_manager.using(self.using).filter(pk__in=keys)
                        inserting.insert_for_users(pattern, some, self.using)
                    users = ()
                rows = [_due_like(pattern, user_id=key) for key in users]
                rows += [_due_like(pattern, address=one, address_key=address_key(one)) for one in addresses]
                inserting.insert(rows, self.using)
        self.made()

    def _waiting_like(self, pattern: Delivery, number: int) -> AbstractContextManager[Delivery]:
        """The pattern for an INSERT of about so many deliveries: many wait in pages, few by themselves."""
        # Not of a messenger that gets all users of an event at once, which one that is not installed here may be.
        if number >= FEWEST and _sends_itself(pattern.messenger) is False:
            return paged(pattern, self.using)
        return nullcontext(pattern)

    def go_on(self) -> None:
        """Hold on to the events. Raises :class:`_Stopped` where the work is to end, or others have taken them over."""
        if self.stop() or not self.claimed.keep(self.held, self.using):
            raise _Stopped
        if self.found > self.event.found and time.monotonic() - self._noted_at >= NOTE_SECONDS:
            # A worker that comes further than all before uses up no attempt. What ends its workers at the same place
            # each time is given up; what is only interrupted comes to an end.
            self._noted_at = time.monotonic()
            self.event.found, self.event.attempts = self.found, 1
            rows = Event.objects.using(self.using).filter(pk=self.event.pk, lease_token=self.claimed.token)
            rows.update(found=self.found, attempts=1)


def _due_like(pattern: Delivery, **values: Any) -> Delivery:
    return pattern.like(not_before=pattern.not_before, page_key=pattern.page_key, **values)


def _sends_itself(messenger: str) -> bool | None:
    """Whether the messenger overrides ``send``; None where it is not installed."""
    try:
        return registry.messenger_class(messenger).sends_itself
    except ConfigurationError:
        return None
