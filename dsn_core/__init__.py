"""dsn-core turns any Django signal into messages to the right people: its public API.

Importing it imports no model and does not need Django to be set up.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async

from dsn_core.context import acting, muted
from dsn_core.contracts.activities import ActivityView
from dsn_core.contracts.codecs import BaseCodec
from dsn_core.contracts.messages import EventInfo, Message
from dsn_core.contracts.messengers import BaseMessenger
from dsn_core.contracts.options import Options, secret
from dsn_core.contracts.receipts import Outcome, Receipt
from dsn_core.contracts.receivers import (
    BackendView,
    BaseReceiverFilter,
    BaseReceiverResolver,
    DeliveryView,
    Hold,
    Receiver,
)
from dsn_core.contracts.registrations import SignalRegistration
from dsn_core.contracts.runners import BaseRunner
from dsn_core.contracts.templates import BaseMessageTemplate
from dsn_core.hookspecs import hookimpl
from dsn_core.plugins.catalogue import register_signal

if TYPE_CHECKING:
    from django.db.models import QuerySet

__all__ = [
    "ActivityView",
    "BackendView",
    "BaseCodec",
    "BaseMessageTemplate",
    "BaseMessenger",
    "BaseReceiverFilter",
    "BaseReceiverResolver",
    "BaseRunner",
    "DeliveryView",
    "EventInfo",
    "Hold",
    "Message",
    "Options",
    "Outcome",
    "Receipt",
    "Receiver",
    "SignalRegistration",
    "acting",
    "aemit",
    "aemit_many",
    "due_messengers",
    "emit",
    "emit_many",
    "expand_due",
    "find_users",
    "hookimpl",
    "muted",
    "record_report",
    "refresh",
    "register_signal",
    "secret",
    "send_due",
    "store_address",
]


def emit(
    verb: str,
    *,
    action_object: Any = None,
    actor_object: Any = None,
    target: str = "",
    using: str | None = None,
    **signal_kwargs: Any,
) -> uuid.UUID | None:
    """Record an event for a change for which Django sends no signal (``bulk_create``, ``update``).

    ``verb`` is a registered name. Triggers match as if the signal had been sent with ``signal_kwargs``. ``using`` is
    the database in which the change was made. Returns the occurrence's id, or None when no trigger matched. As with
    signals, errors (an unknown verb, too) are logged, and raised only with ``DSN["STRICT"]``.
    """
    return emit_many(verb, [action_object], actor_object=actor_object, target=target, using=using, **signal_kwargs)[0]


def emit_many(
    verb: str,
    action_objects: Iterable[Any],
    *,
    actor_object: Any = None,
    target: str = "",
    using: str | None = None,
    **signal_kwargs: Any,
) -> list[uuid.UUID | None]:
    """:func:`emit` for many action objects, with one INSERT for all their events.

    ::

        movies = Movie.objects.bulk_create(...)
        emit_many("post_save", movies, created=True)

    Returns for each of ``action_objects`` its occurrence's id, or None where no trigger matched.
    """
    # It imports models, which is not possible before Django is set up.
    from dsn_core.triggers import dispatch

    return dispatch.emit(
        verb,
        action_objects,
        actor_object=actor_object,
        target=target,
        using=using,
        signal_kwargs=signal_kwargs,
    )


async def aemit(verb: str, **parts: Any) -> uuid.UUID | None:
    """:func:`emit` for async code, with the same arguments."""
    return await sync_to_async(emit)(verb, **parts)


async def aemit_many(verb: str, action_objects: Iterable[Any], **parts: Any) -> list[uuid.UUID | None]:
    """:func:`emit_many` for async code, with the same arguments."""
    return await sync_to_async(emit_many)(verb, action_objects, **parts)


def refresh() -> None:
    """Read the triggers that other processes changed now, instead of within ``REFRESH_SECONDS``."""
    from dsn_core.triggers.dispatch import trigger_cache

    trigger_cache.refresh(force=True)


def record_report(
    state: str,
    *,
    messenger: str,
    message_id: str = "",
    provider_id: str = "",
    reason: str = "",
    using: str | None = None,
) -> bool:
    """Record a provider's later report about a message that it took: ``"delivered"`` or ``"undelivered"``.

    ``messenger`` is the alias of the account that the report came for: a report about a delivery of another one is
    refused, and logged. The delivery is found by its message's id (``Message.id``, which a messenger can put into the
    callback URL; signed, where the provider's own signature does not cover that URL), or by the provider's own id.
    May be repeated: the first report stays. A delivery whose outcome was *unknown* becomes *sent* when it is reported
    delivered.

    ``using`` is the database of the deliveries, by default where they are written. Returns False when this messenger
    has no such delivery (yet). Raises ``ValueError`` for another state, or when no id is given.
    """
    from dsn_core.intake import record as intake
    from dsn_core.sending import reporting

    return reporting.record(
        state,
        using=using or intake.outbox(),
        messenger=messenger,
        message_id=message_id,
        provider_id=provider_id,
        reason=reason,
    )


def find_users(messenger: str, address: str) -> QuerySet[Any]:
    """The users with this address for ``messenger`` (its name or alias): a queryset of the user model.

    It looks where the messenger reads them: at the path of ``DSN["ADDRESSES"]`` or of its class, in the field of the
    project's profile, or in the rows of :class:`dsn_core.models.Address`. Letter by letter in these; in a field of the
    project, as its database compares. Of an account, users with a row of its own count by that row only. More than
    one user may have the same address. Raises :class:`~dsn_core.exceptions.ConfigurationError` when nothing says where
    they are, or users cannot be searched by it.
    """
    from dsn_core.sending import addresses

    return addresses.users_with(messenger, address)


def store_address(user: Any, messenger: str, address: str, *, verified_at: datetime | None = None) -> None:
    """Store the user's address for ``messenger``, where :func:`find_users` looks for it; an empty one removes it.

    ``verified_at`` is when the user confirmed the address; left out, it counts as not verified. A row of
    :class:`dsn_core.models.Address` keeps it, a field of the project does not. Of two calls at once, the last one wins.
    An account for which it is removed does not read its messenger's address instead.

    A profile's row that is missing is made. Raises :class:`~dsn_core.exceptions.ConfigurationError` when the path
    leads to nothing that can be saved, or the field refuses the address; ``ValueError`` for a user that is not saved;
    ``TypeError`` for an argument that is not a user, or not a text.
    """
    from dsn_core.sending import addresses

    addresses.store(user, messenger, address, verified_at)


# Called by the runners of plugins. These import models, so the imports are inside the functions.


def expand_due(using: str | None = None, *, seconds: float | None = None) -> int:
    """Make the deliveries of all events that are due, and return how many events were worked on.

    For runners, in their own process. ``using`` is the argument of :meth:`BaseRunner.wake`; None is the database in
    which events are recorded. Works until nothing is due, or for ``seconds``: events that are not begun by then stay
    due. Safe beside any other worker. Raises ``django.db.Error`` when the database cannot be reached.
    """
    from dsn_core.runners import driver

    return driver.expand_due(using, seconds=seconds)


def send_due(messenger: str, using: str | None = None, *, seconds: float | None = None) -> int:
    """Send the deliveries of ``messenger`` (a name, or an account) that are due, and return how many were worked on.

    Otherwise like :func:`expand_due`: works until nothing is due, the messenger pauses, or ``seconds`` have passed.
    Waits for the messenger's rate. A message that was begun is finished.
    """
    from dsn_core.runners import driver

    return driver.send_due(messenger, using, seconds=seconds)


def due_messengers(using: str | None = None) -> list[str]:
    """The messengers and accounts that have deliveries to send now, for :func:`send_due`. One query.

    Those that pause are not among them.
    """
    from dsn_core.runners import driver

    return driver.due_messengers(using)
