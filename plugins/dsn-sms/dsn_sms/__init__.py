"""dsn-sms: the messenger ``sms`` of dsn-core, and what a provider of another package is written with."""

from __future__ import annotations

from dsn_sms.exceptions import BadSettings, Forged, NoAnswer, NoConnection, Unreadable
from dsn_sms.meanings import Meaning
from dsn_sms.messenger import SMSMessenger
from dsn_sms.options import SMSOptions
from dsn_sms.outgoing import SMS
from dsn_sms.providers.base import BaseProvider, Inbound, Report
from dsn_sms.signals import sms_received

__all__ = [
    "SMS",
    "BadSettings",
    "BaseProvider",
    "Forged",
    "Inbound",
    "Meaning",
    "NoAnswer",
    "NoConnection",
    "Report",
    "SMSMessenger",
    "SMSOptions",
    "Unreadable",
    "sms_received",
]
