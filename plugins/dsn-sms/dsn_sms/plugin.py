"""What the entry point ``sms`` names: the plugin's hooks."""

from __future__ import annotations

from collections.abc import Iterable

from dsn_core import BaseMessenger, SignalRegistration, hookimpl
from dsn_sms.messenger import SMSMessenger
from dsn_sms.signals import sms_received


@hookimpl
def dsn_messengers() -> Iterable[type[BaseMessenger]]:
    """The messenger ``sms``."""
    return [SMSMessenger]


@hookimpl
def dsn_signals() -> Iterable[SignalRegistration]:
    """The verb ``sms_received``."""
    provides = dict.fromkeys(("messenger", "number", "text", "kind", "to", "message_id"), str) | {"raw": dict}
    description = "An SMS came to one of our numbers."
    return [SignalRegistration("sms_received", sms_received, provides, target="kind", description=description)]
