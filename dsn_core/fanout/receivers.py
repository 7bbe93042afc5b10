"""The receivers of an event: what its subscriptions name, and what resolvers return, in chunks for INSERTs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.db.models import Exists, Manager, Model, OuterRef, Prefetch, QuerySet, prefetch_related_objects

from dsn_core.contracts.receivers import Receiver
from dsn_core.exceptions import ConfigurationError
from dsn_core.models import Backend, MessengerState, Subscription, SubscriptionAddress
from dsn_core.models.delivery import ADDRESS_LENGTH
from dsn_core.models.sql import storable
from dsn_core.models.subscription import users_have_groups

#: Receivers of one chunk.
CHUNK = 1_000
#: Users that the first INSERT ... SELECT of many makes deliveries for, so that these go out soon, and each of the last,
#: which is short enough to renew the lease in between. Every statement looks through the whole group.
FIRST_USERS, USERS_PER_STATEMENT = 2_500, 20_000


def subscriptions_of(trigger_id: int, using: str) -> list[Any]:
    """The enabled ones of a trigger, with ``has_addresses`` and ``has_groups``: what one has not is not asked for."""
    known = MessengerState.objects.using(using).filter(messenger=OuterRef("messenger"))
    addresses = SubscriptionAddress.objects.using(using).filter(subscription=OuterRef("pk"))
    groups = Subscription.groups.through._base_manager.using(using).filter(subscription=OuterRef("pk"))
    found: list[Any] = list(
        Subscription.objects.using(using)
        .filter(trigger=trigger_id, trigger__enabled=True, enabled=True)
        .annotate(has_addresses=Exists(addresses), has_groups=Exists(groups))
        .prefetch_related(Prefetch("backends", Backend.objects.annotate(is_known=Exists(known))))
    )
    prefetch_related_objects([item for item in found if item.has_addresses], "addresses")
    prefetch_related_objects([item for item in found if item.has_groups], "groups")
    MessengerState.objects.using(using).make_known(
        backend.messenger for item in found for backend in item.backends.all() if not backend.is_known
    )
    return found


class Chunk(NamedTuple):
    """Some of the receivers: the primary keys of users, and bare addresses."""

    users: Sequence[Any]
    addresses: Sequence[Receiver]

    def unserved(self, backends: Sequence[Backend]) -> Counter[str]:
        """How many bare addresses are for messengers that none of ``backends`` has, by messenger."""
        names = Counter(receiver.messenger for receiver in self.addresses)
        return Counter({name: n for name, n in names.items() if not any(item.accepts(name) for item in backends)})


def chunks_of(resolved: Any, resolver: str) -> Iterator[Chunk]:
    """The receivers that ``resolver`` returned.

    Raises :class:`~dsn_core.exceptions.ConfigurationError` at what is neither a user nor a ``Receiver``.
    """
    if isinstance(resolved, Manager):
        resolved = resolved.all()
    if resolved is None:
        return
    if isinstance(resolved, QuerySet) and resolved._fields is None:  # type: ignore[attr-defined]
        if not issubclass(resolved.model, get_user_model()):
            raise _nonsense(resolver, f"a queryset of {resolved.model._meta.label}")
        for keys in pages_of_keys(resolved, CHUNK):
            yield Chunk(keys, [])
        return
    if isinstance(resolved, Receiver | get_user_model()) or getattr(resolved, "is_anonymous", False):
        resolved = [resolved]
    if isinstance(resolved, str | bytes) or not isinstance(resolved, Iterable):
        raise _nonsense(resolver, _kind_of(resolved))
    items = iter(resolved)
    while some := list(islice(items, CHUNK)):
        users: list[Any] = []
        addresses: list[Receiver] = []
        for item in some:
            if isinstance(item, Manager | QuerySet):
                yield from chunks_of(item, resolver)
                continue
            user = item.user if isinstance(item, Receiver) else item
            if isinstance(item, Receiver) and user is None:
                if storable(item.address, ADDRESS_LENGTH) != item.address:
                    said = f"an address longer than {ADDRESS_LENGTH} characters, or with ones no row can hold"
                    raise _nonsense(resolver, said)
                addresses.append(item)
            # An anonymous one, such as the ``request.user`` of a visitor, is left out.
            elif not getattr(user, "is_anonymous", False):
                if not isinstance(user, get_user_model()):
                    raise _nonsense(resolver, _kind_of(user))
                if user.pk is None:
                    raise _nonsense(resolver, "a user that is not saved")
                users.append(user.pk)
        yield Chunk(users, addresses)


def _kind_of(value: object) -> str:
    """What ``value`` is, without showing it: it may be anything that a path leads to."""
    return f"an object of the type {value._meta.label if isinstance(value, Model) else type(value).__name__}"


def _nonsense(resolver: str, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"The receiver resolver {resolver!r} gave {what}; it gives users ({get_user_model()._meta.label}) "
        "or Receiver objects. Mend it or its argument, then expand the event again: in the admin, or by "
        "Event.objects.retry()."
    )


def members_of(groups: Sequence[int], using: str) -> QuerySet[Any]:
    """The users in any of ``groups``."""
    users = get_user_model()._default_manager.using(using)
    if not users_have_groups():
        raise ConfigurationError(
            f"The subscription names groups, but the user model {get_user_model()._meta.label} has no groups. "
            "Name users, or use a receiver resolver."
        )
    # By a sub-select: a user in two of the groups is one receiver.
    members = users.model._default_manager.using(using).filter(groups__in=groups).order_by().values("pk")
    return users.filter(pk__in=members)


def pages_of_users(users: QuerySet[Any]) -> Iterator[tuple[int, QuerySet[Any]]]:
    """``users`` in querysets of at most :data:`USERS_PER_STATEMENT`, each with its number, found by key."""
    rest = users = users.order_by("pk")
    left, size = users.count(), FIRST_USERS
    while left > size:
        last = rest.values_list("pk", flat=True)[size - 1 : size].first()
        if last is None:
            # Some were deleted since they were counted.
            break
        yield size, rest.filter(pk__lte=last)
        rest, left, size = users.filter(pk__gt=last), left - size, min(size * 2, USERS_PER_STATEMENT)
    if left:
        yield left, rest


def pages_of_keys(queryset: QuerySet[Any], size: int) -> Iterator[list[Any]]:
    """The primary keys of ``queryset``, page by page, each found by key.

    Not an open cursor: over a million rows that costs hundreds of MB on MariaDB and blocks
    writers on SQLite.
    """
    query = queryset.query
    if query.is_sliced or query.combinator or query.distinct_fields:
        # Cannot be filtered or sorted any more, and is as long as its slice.
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
