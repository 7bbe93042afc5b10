"""A provider for development: prints."""

from __future__ import annotations

import sys
import threading

from dsn_core import Receipt
from dsn_sms.outgoing import SMS
from dsn_sms.providers.base import BaseProvider

_lock = threading.Lock()


class ConsoleProvider(BaseProvider):
    """Prints messages to standard output, with what they would cost."""

    name = "console"

    def send(self, sms: SMS) -> Receipt:
        sender = f" from {sms.sender}" if sms.sender else ""
        head = f"SMS to {sms.to} ({sms.country}){sender}, {sms.encoding}, segments: {sms.segments}"
        # Several threads print.
        with _lock:
            sys.stdout.write(f"{head}\n{sms.text}\n{'-' * 79}\n")
            sys.stdout.flush()
        return Receipt.sent()
