"""dsn-core turns any Django signal into messages to the right people.

Everything a plugin author or a project needs by name. Importing this module imports no model and
needs no Django that is set up.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async

from dsn_core.context import acting, muted
from dsn_core.contracts.codecs import BaseCodec
from dsn_core.contracts.html import Element, Piece, read_html
from dsn_core.contracts.messages import Message
from dsn_core.contracts.messengers import BaseMessenger
from dsn_core.contracts.options import Options, secret
from dsn_core.contracts.receipts import Outcome, Receipt
from dsn_core.contracts.receivers import BaseReceiverFilter, BaseReceiverResolver, Receiver
from dsn_core.contracts.registrations import SignalRegistration
from dsn_core.contracts.runners import BaseRunner
from dsn_core.contracts.templates import BaseMessageTemplate
from dsn_core.contracts.texts import clean_text
from dsn_core.hookspecs import hookimpl
from dsn_core.plugins.catalogue import register_signal

if TYPE_CHECKING:
    from django.db.models import QuerySet

__all__ = [
    "BaseCodec",
    "BaseMessageTemplate",
    "BaseMessenger",
    "BaseReceiverFilter",
    "BaseReceiverResolver",
    "BaseRunner",
    "Element",
    "Message",
    "Options",
    "Outcome",
    "Piece",
    "Receipt",
    "Receiver",
    "SignalRegistration",
    "acting",
    "aemit",
    "aemit_many",
    "clean_text",
    "due_messengers",
    "emit",
    "emit_many",
    "expand_due",
    "find_users",
    "hookimpl",
    "muted",
    "read_html",
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
    """Say that something happened for which Django sends no signal (``bulk_create``, ``update``).

    ``verb`` is a registered name; the triggers that match record their events, exactly as if the
    signal had been sent with ``signal_kwargs``. ``using`` is the database the change was made in.
    Returns the occurrence's id, or None when no trigger matched. As for signals, what goes wrong
    (an unknown verb too) is logged, and raised only with ``DSN["STRICT"]``.
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
    """The same for many action objects at once, whose events are one INSERT.

    ::

        movies = Movie.objects.bulk_create(...)
        emit_many("post_save", movies, created=True)

    Returns for each of ``action_objects`` its occurrence's id, or None where no trigger matched.
    """
    # It works with models, which cannot be imported before Django is set up.
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
    """Look for triggers that other processes changed, now instead of within ``REFRESH_SECONDS``."""
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
    """Record what a provider says later of a message that it took: ``"delivered"`` or ``"undelivered"``.

    ``messenger`` is the alias of the account whose provider speaks: a report about a delivery of another one is
    refused, and logged. The delivery is found by its message's id (``Message.id``, which a messenger can put into the
    address that the provider calls; signed, where the provider's own signature leaves that address out), or by the
    provider's own id. May be repeated: the first report stays. A delivery whose outcome was *unknown* is *sent* once
    it is reported delivered.

    ``using`` is the database of the deliveries, by default where they are written. Returns False when this messenger
    has no such delivery (yet). Raises ``ValueError`` for another state, or when nothing says which delivery.
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
    """The users whose address for ``messenger`` (its name or alias) this is: a queryset of the user model.

    Where addresses are is what ``DSN["ADDRESSES"]``, the messenger's class and ``DSN["PROFILE_MODEL"]`` say. Raises
    :class:`~dsn_core.exceptions.ConfigurationError` when nothing says it.
    """
    from dsn_core.sending import addresses

    return addresses.users_with(messenger, address)


def store_address(user: Any, messenger: str, address: str) -> None:
    """Store the user's address for ``messenger``, where :func:`find_users` looks for it; an empty one removes it.

    A profile's row that is missing is made. Raises :class:`~dsn_core.exceptions.ConfigurationError` when the path
    leads to nothing that can be saved, or the field refuses the address.
    """
    from dsn_core.sending import addresses

    addresses.store(user, messenger, address)


# What the runners of plugins call. It works with models, and is therefore imported when it is called.


def expand_due(using: str | None = None, *, seconds: float | None = None) -> int:
    """Make the deliveries of all events that are due, and return how many events were worked on.

    For runners, in a process of theirs. ``using`` is what :meth:`BaseRunner.wake` was given; None is
    the database in which events are recorded. Works until nothing is due, or for ``seconds``: an
    event whose turn has not come by then stays due. Safe beside any other worker. Raises
    ``django.db.Error`` when the database is away.
    """
    from dsn_core.runners import driver

    return driver.expand_due(using, seconds=seconds)


def send_due(messenger: str, using: str | None = None, *, seconds: float | None = None) -> int:
    """Send the deliveries of ``messenger`` (a name, or an account) that are due, and return how many were worked on.

    The same as :func:`expand_due` otherwise: until nothing is due, the messenger pauses, or
    ``seconds`` have passed. Waits for the messenger's rate. A message that was begun is finished.
    """
    from dsn_core.runners import driver

    return driver.send_due(messenger, using, seconds=seconds)


def due_messengers(using: str | None = None) -> list[str]:
    """The messengers and accounts that have deliveries to send now, for :func:`send_due`. One query.

    Those that pause are not among them.
    """
    from dsn_core.runners import driver

    return driver.due_messengers(using)
