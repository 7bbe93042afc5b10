"""Fan-out: an event becomes one delivery per backend and receiver."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Manager, QuerySet

from dsn_core import conf
from dsn_core.contracts.receivers import Receiver
from dsn_core.exceptions import ConfigurationError, DSNError, PayloadError
from dsn_core.models import Backend, Delivery, Event, MessengerState, Subscription
from dsn_core.models.clock import DatabaseClock
from dsn_core.models.delivery import address_key
from dsn_core.pipeline import context, inserting
from dsn_core.pipeline.claiming import Claim, claim
from dsn_core.pipeline.settling import backoff
from dsn_core.plugins.loading import describe
from dsn_core.plugins.registry import registry

logger = logging.getLogger("dsn_core.fanout")

#: Events of one claim, and receivers of one INSERT.
EVENTS_PER_CLAIM = 50
RECEIVERS_PER_INSERT = 1_000


def expand_due(using: str) -> int:
    """Claim due events and make their deliveries; return how many events were worked on."""
    claimed = claim(Event.objects.using(using), limit=EVENTS_PER_CLAIM, status=Event.Status.EXPANDING)
    if claimed is None:
        return 0
    plans = _Plans(using)
    for event in claimed.rows:
        _settle(event, claimed, _expand(event, plans, claimed.clock, using), using)
    return len(claimed.rows)


@dataclass
class _Plans:
    """The enabled subscriptions of triggers, read once per claim."""

    using: str
    _read: dict[int, list[Subscription]] = field(default_factory=dict)

    def of(self, trigger_id: int) -> list[Subscription]:
        if trigger_id not in self._read:
            self._read[trigger_id] = list(
                Subscription.objects.using(self.using)
                .filter(trigger=trigger_id, trigger__enabled=True, enabled=True)
                .prefetch_related("backends", "addresses", "groups")
            )
            self._make_known({backend.messenger for item in self._read[trigger_id] for backend in item.backends.all()})
        return self._read[trigger_id]

    def _make_known(self, messengers: set[str]) -> None:
        rows = MessengerState.objects.using(self.using)
        for name in messengers - set(rows.filter(messenger__in=messengers).values_list("messenger", flat=True)):
            rows.get_or_create(messenger=name)


def _expand(event: Event, plans: _Plans, clock: DatabaseClock, using: str) -> list[Exception]:
    """Make the event's deliveries. One subscription that fails does not keep the others from theirs."""
    errors: list[Exception] = []
    for subscription in plans.of(event.trigger_id):
        try:
            with context.working_on(event.depth):
                _expand_subscription(event, subscription, clock, using)
        except Exception as error:
            logger.warning("Event %s, %s: the fan-out failed: %s", event.pk, subscription, describe(error))
            errors.append(error)
    return errors


def _expand_subscription(event: Event, subscription: Subscription, clock: DatabaseClock, using: str) -> None:
    backends = list(subscription.backends.all())
    if not backends:
        return
    patterns = {backend.pk: _pattern(event, backend, subscription, clock) for backend in backends}
    for pattern in patterns.values():
        inserting.insert_for_users(pattern, subscription.users.using(using).all(), using)
        if groups := [group.pk for group in subscription.groups.all()]:
            inserting.insert_for_users(pattern, _members(groups, using), using)
    bare = [Receiver(messenger=row.messenger, address=row.address) for row in subscription.addresses.all()]
    _insert_receivers(bare, backends, patterns, using)
    if subscription.resolver:
        resolved = registry.receiver_resolver(subscription.resolver).resolve(event, subscription.argument)
        for chunk in receivers_of(resolved, subscription.resolver):
            _insert_receivers(chunk, backends, patterns, using)
    _add_calls(event, backends, patterns, using)


def _pattern(event: Event, backend: Backend, subscription: Subscription, clock: DatabaseClock) -> Delivery:
    now = clock.now()
    return Delivery(
        event_id=event.pk,
        backend_id=backend.pk,
        occurrence=event.occurrence,
        messenger=backend.messenger,
        priority=subscription.priority,
        not_before=now,
        created_at=now,
    )


def _members(groups: Sequence[int], using: str) -> QuerySet[Any]:
    users = get_user_model()._default_manager.using(using)
    if not any(relation.name == "groups" for relation in get_user_model()._meta.many_to_many):
        raise ConfigurationError(
            f"The subscription names groups, but the user model {get_user_model()._meta.label} has no groups. "
            "Name users, or use a receiver resolver."
        )
    return users.filter(groups__in=groups)


def _insert_receivers(
    receivers: Iterable[Receiver], backends: Sequence[Backend], patterns: dict[int, Delivery], using: str
) -> None:
    rows = []
    for receiver in receivers:
        for backend in backends:
            if receiver.user is not None:
                rows.append(_like(patterns[backend.pk], user_id=getattr(receiver.user, "pk", receiver.user)))
            elif backend.accepts(receiver.messenger):
                key = address_key(receiver.address)
                rows.append(_like(patterns[backend.pk], address=receiver.address, address_key=key))
    inserting.insert(rows, using)


def _like(pattern: Delivery, **values: Any) -> Delivery:
    fields = {field.attname: getattr(pattern, field.attname) for field in Delivery._meta.concrete_fields}
    return Delivery(**{**fields, **values})


def _add_calls(event: Event, backends: Sequence[Backend], patterns: dict[int, Delivery], using: str) -> None:
    """A seed-style messenger is called even when nobody is named: it may choose its users itself."""
    for backend in backends:
        try:
            itself = registry.messenger_class(backend.messenger).sends_itself()
        except ConfigurationError:
            continue
        made = Delivery.objects.using(using).filter(occurrence=event.occurrence, backend=backend)
        if itself and not made.exists():
            inserting.insert([_like(patterns[backend.pk], address_key=address_key(""))], using)


def receivers_of(resolved: Any, resolver: str) -> Iterator[list[Receiver]]:
    """What a resolver returned, as chunks of receivers; raises when it is neither users nor receivers."""
    if isinstance(resolved, Manager):
        resolved = resolved.all()
    if resolved is None:
        return
    if isinstance(resolved, QuerySet) and resolved._fields is None:  # type: ignore[attr-defined]
        if not issubclass(resolved.model, get_user_model()):
            raise _nonsense(resolver, f"a queryset of {resolved.model._meta.label}")
        for keys in pages_of_keys(resolved, RECEIVERS_PER_INSERT):
            yield [Receiver(user=key) for key in keys]
        return
    if isinstance(resolved, Receiver | get_user_model()):
        resolved = [resolved]
    if isinstance(resolved, str) or not isinstance(resolved, Iterable):
        raise _nonsense(resolver, repr(resolved))
    items = iter(resolved)
    while chunk := list(islice(items, RECEIVERS_PER_INSERT)):
        yield [_receiver(item, resolver) for item in chunk if not getattr(item, "is_anonymous", False)]


def _receiver(item: Any, resolver: str) -> Receiver:
    if isinstance(item, Receiver):
        return item
    if isinstance(item, get_user_model()) and item.pk is not None:
        return Receiver(user=item)
    raise _nonsense(resolver, repr(item))


def _nonsense(resolver: str, what: str) -> DSNError:
    return ConfigurationError(
        f"The receiver resolver {resolver!r} gave {what}; it gives users ({get_user_model()._meta.label}) or Receiver objects."
    )


def pages_of_keys(queryset: QuerySet[Any], size: int) -> Iterator[list[Any]]:
    """The primary keys of ``queryset``, page by page, each found by key.

    Not an open cursor: over a million rows that costs hundreds of MB on MariaDB and blocks
    writers on SQLite.
    """
    if queryset.query.is_sliced or queryset.query.combinator:
        # Cannot be filtered any more, and is bounded by whoever sliced it.
        keys = iter(queryset.values_list("pk", flat=True))
        while page := list(islice(keys, size)):
            yield page
        return
    ordered = queryset.order_by("pk").values_list("pk", flat=True)
    page = list(ordered[:size])
    while page:
        yield page
        if len(page) < size:
            return
        page = list(ordered.filter(pk__gt=page[-1])[:size])


def _settle(event: Event, claimed: Claim[Event], errors: list[Exception], using: str) -> None:
    text = "; ".join(describe(error) for error in errors)
    values: dict[str, Any] = {"status": Event.Status.EXPANDED, "not_before": None, "last_error": text}
    if errors:
        lasting = all(isinstance(error, ConfigurationError | PayloadError) for error in errors)
        if lasting or event.attempts >= conf.current().MAX_ATTEMPTS:
            values["status"] = Event.Status.FAILED
        else:
            values["status"] = Event.Status.PENDING
            values["not_before"] = claimed.clock.now(backoff(event.attempts))
    rows = Event.objects.using(using).filter(pk=event.pk, lease_token=claimed.token)
    rows.update(lease_token=None, **values)
