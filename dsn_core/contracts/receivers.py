"""Who gets a message, and the plugin classes that choose and refuse receivers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dsn_core.contracts.activities import ActivityView
from dsn_core.contracts.naming import Named
from dsn_core.contracts.overriding import not_overridden, require_override


@dataclass(frozen=True)
class Receiver:
    """One receiver: a user, or a bare address of one messenger.

    ``Receiver(user=ann)`` is the same as ``ann`` where receivers are expected.
    ``Receiver(messenger="email", address="ops@example.org")`` gets a message only from backends
    whose messenger is ``email``; without ``messenger`` the address is given to every backend of
    the subscription.
    """

    user: Any = None
    messenger: str = ""
    address: str = ""

    def __post_init__(self) -> None:
        if (self.user is None) == (not self.address):
            raise ValueError("A Receiver is either a user or an address: give exactly one of them.")


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
    """Chooses the receivers of an event when it happened: the dynamic ones.

    A subscription names a resolver and an *argument*, a text that means what the resolver says::

        class MovieAudience(BaseReceiverResolver):
            \"\"\"The audience of the movie that was released.\"\"\"

            name = "movie_audience"

            def resolve(self, event, argument):
                return event.signal_kwargs["movie"].audiences.all()

    ``resolve`` runs in a runner, after the transaction of the code that fired the signal.
    """

    def resolve(self, event: ActivityView, argument: str) -> Iterable[Any]:
        """Return the receivers: users, :class:`Receiver` objects, or a queryset of users.

        A queryset is read page by page and never held as a whole, so that a million users are
        fine. The same receiver twice gets one message. May run again for the same event after a
        crash or an error. What it raises is kept on the event, which is tried again later; the
        event's other subscriptions go on.
        """
        raise not_overridden(self, "resolve")

    def check_argument(self, argument: str, trigger: Any) -> None:
        """Raise ``ValueError``, with a sentence for the operator, when ``argument`` cannot work.

        Called when a subscription is configured. ``trigger`` has ``verb``, ``provides`` (the
        names of the signal's arguments, or None when they are not known), ``removes`` (whether
        the signal says that its instance is being deleted) and ``action_object_class`` (a model
        class, or None). The default accepts everything.
        """

    @classmethod
    def check_contract(cls) -> None:
        super().check_contract()
        require_override(cls, BaseReceiverResolver, "resolve")


class BaseReceiverFilter(Named):
    """Says who must not get a message: opt-outs, suppression lists, quiet accounts.

    Asked in bulk just before a batch is rendered, for every messenger::

        class Unsubscribed(BaseReceiverFilter):
            \"\"\"Users who opted out.\"\"\"

            def exclude(self, deliveries):
                out = set(OptOut.objects.filter(user__in=[d.user for d in deliveries if d.user])
                          .values_list("user_id", flat=True))
                return {d.pk: "unsubscribed" for d in deliveries if d.user and d.user.pk in out}
    """

    def exclude(self, deliveries: Sequence[DeliveryView]) -> Mapping[Any, str]:
        """Return ``{delivery.pk: reason}`` for those that must not be sent.

        They end as *skipped* with the reason. A filter that raises holds its batch back, which is
        tried again later: nobody gets a message because the list of who must not could not be read.
        """
        raise not_overridden(self, "exclude")

    @classmethod
    def check_contract(cls) -> None:
        super().check_contract()
        require_override(cls, BaseReceiverFilter, "exclude")
