"""Receivers, and the plugin classes that choose and exclude them."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from django.conf import settings
from django.utils.timezone import is_naive

from dsn_core.contracts.activities import ActivityView
from dsn_core.contracts.naming import Named, not_overridden


@dataclass(frozen=True)
class Receiver:
    """One receiver: a user, or a bare address of one messenger.

    ``Receiver(user=ann)`` is the same as ``ann`` where receivers are expected.
    ``Receiver(messenger="email", address="ops@example.org")`` gets messages only from backends whose messenger is
    ``email``; without ``messenger``, from every backend of the subscription.
    """

    user: Any = None
    messenger: str = ""
    address: str = ""

    def __post_init__(self) -> None:
        if (self.user is None) == (not self.address):
            raise ValueError("A Receiver is either a user or an address: give exactly one of them.")


@dataclass(frozen=True)
class Hold:
    """A receiver filter's answer that a message is to wait: quiet hours, a holiday.

    ``until``   a ``datetime``, with a time zone unless the project has ``USE_TZ = False``. One that is past, or nearer
                than a minute, means in a minute; one that is more than 31 days away means in 31 days: the filter is
                asked again then
    ``reason``  a sentence for operators, kept on the delivery while it waits

    Raises ``TypeError`` for an ``until`` that is no ``datetime``, and ``ValueError`` for one without a time zone.
    """

    until: datetime.datetime
    reason: str

    def __post_init__(self) -> None:
        if not isinstance(self.until, datetime.datetime):
            raise TypeError(f"Hold(until=...) is a datetime, not {type(self.until).__name__}.")
        if settings.USE_TZ and is_naive(self.until):
            raise ValueError(
                "Hold(until=...) has no time zone: make it from django.utils.timezone.now(), or by make_aware()."
            )


class BackendView(Protocol):
    """The backend of a delivery. Reading an attribute costs no query."""

    @property
    def messenger(self) -> str:
        """The name of the messenger, or the alias of the account."""

    @property
    def message_template(self) -> str:
        """The name of the message template."""


class DeliveryView(Protocol):
    """A delivery that is about to be sent, as receiver filters get it.

    Reading an attribute costs no query: users, events and backends of all deliveries of a batch are read before the
    filters are asked, with one query each. What an attribute of ``user`` or of the event's instances leads to costs a
    query for each delivery: ask for all of them at once, by the keys.
    """

    @property
    def pk(self) -> Any:
        """The delivery's key, by which :meth:`BaseReceiverFilter.exclude` names it. No query."""

    @property
    def user_id(self) -> Any:
        """The user's key; None for a bare address. No query."""

    @property
    def user(self) -> Any:
        """The user; None for a bare address. No query; its relations cost one for each receiver."""

    @property
    def address(self) -> str:
        """The bare address; empty for a user, whose address is looked for after the filters. No query."""

    @property
    def messenger(self) -> str:
        """The name of the messenger, or the alias of the account. No query."""

    @property
    def event(self) -> ActivityView:
        """The event. No query, as its attributes say."""

    @property
    def backend(self) -> BackendView:
        """The backend. No query."""


class BaseReceiverResolver(Named):
    """Chooses the dynamic receivers of an event.

    A subscription names a resolver and an *argument*, a text that the resolver interprets::

        class MovieAudience(BaseReceiverResolver):
            \"\"\"The audience of the movie that was released.\"\"\"

            name = "movie_audience"

            def resolve(self, event, argument):
                return event.signal_kwargs["movie"].audiences.all()

    ``resolve`` runs in a runner, after the transaction of the code that fired the signal.
    """

    _must_override = ("resolve",)

    def resolve(self, event: ActivityView, argument: str) -> Iterable[Any]:
        """Return the receivers: users, :class:`Receiver` objects, or a queryset of users; several querysets in a list.

        A queryset is read page by page and never held as a whole, so it may have a million users. A receiver that
        comes twice gets one message. May run again for the same event after a crash or an error. An exception is kept
        on the event, which is tried again later; the event's other subscriptions go on.
        """
        raise not_overridden(self, "resolve")

    def check_argument(self, argument: str, trigger: Any) -> None:
        """Raise ``ValueError``, with a sentence for the operator, when ``argument`` cannot work.

        Called when a subscription is configured. ``trigger`` has ``verb``, ``provides`` (the names of the signal's
        arguments, or None when they are not known), ``removes`` (whether the signal is about a deletion) and
        ``action_object_class`` (a model class, or None). The default accepts everything.
        """


class BaseReceiverFilter(Named):
    """Excludes receivers from messages, or lets messages wait: opt-outs, suppression lists, quiet hours.

    Called once per batch, just before it is rendered, for every messenger::

        class Unsubscribed(BaseReceiverFilter):
            \"\"\"Users that opted out.\"\"\"

            def exclude(self, deliveries):
                out = set(OptOut.objects.filter(user__in=[d.user for d in deliveries if d.user])
                          .values_list("user_id", flat=True))
                return {d.pk: "unsubscribed" for d in deliveries if d.user and d.user.pk in out}
    """

    _must_override = ("exclude",)

    def exclude(self, deliveries: Sequence[DeliveryView]) -> Mapping[Any, str | Hold]:
        """Return ``{delivery.pk: reason}`` for those that must not be sent, or not now.

        They end as *skipped* with the reason. With a :class:`Hold` instead of a reason they wait, without using up an
        attempt or the messenger's rate, and are asked about again when they are due. When a filter raises, its batch
        is tried again later: no message is sent while it is not known which receivers are excluded.
        """
        raise not_overridden(self, "exclude")
