"""dsn-core turns any Django signal into messages to the right people.

Everything a plugin author or a project needs by name. Importing this module imports no model and
needs no Django that is set up.
"""

from __future__ import annotations

import uuid
from typing import Any

from dsn_core.contracts.codecs import BaseCodec
from dsn_core.contracts.messages import Message
from dsn_core.contracts.messengers import BaseMessenger
from dsn_core.contracts.options import Options, secret
from dsn_core.contracts.receipts import Outcome, Receipt
from dsn_core.contracts.receivers import BaseReceiverFilter, BaseReceiverResolver, Receiver
from dsn_core.contracts.registrations import SignalRegistration
from dsn_core.contracts.runners import BaseRunner
from dsn_core.contracts.templates import BaseMessageTemplate
from dsn_core.hookspecs import hookimpl
from dsn_core.plugins.catalogue import register_signal

__all__ = [
    "BaseCodec",
    "BaseMessageTemplate",
    "BaseMessenger",
    "BaseReceiverFilter",
    "BaseReceiverResolver",
    "BaseRunner",
    "Message",
    "Options",
    "Outcome",
    "Receipt",
    "Receiver",
    "SignalRegistration",
    "emit",
    "hookimpl",
    "refresh",
    "register_signal",
    "secret",
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
    # The dispatcher works with models, which cannot be imported before Django is set up.
    from dsn_core.triggers import dispatcher

    return dispatcher.emit(
        verb,
        action_object=action_object,
        actor_object=actor_object,
        target=target,
        using=using,
        signal_kwargs=signal_kwargs,
    )


def refresh() -> None:
    """Look for triggers that other processes changed, now instead of within ``REFRESH_SECONDS``."""
    from dsn_core.triggers import dispatcher

    dispatcher.refresh()
