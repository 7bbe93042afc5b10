"""Watches an SMTP connection, to know whether a message was handed over before the connection was lost."""

from __future__ import annotations

import smtplib
from typing import Any


class SmtpMonitor:
    """Watches one ``smtplib`` connection, to tell "not sent" from "may have been sent".

    smtplib reports a lost connection with the same error at every stage. What matters is whether
    the end of the message was sent to the server: before that, the server cannot have accepted
    it; after that, only its answer says.
    """

    def __init__(self, smtp: smtplib.SMTP) -> None:
        self._smtp_data, self._smtp_send = smtp.data, smtp.send
        self._in_data = False
        self._sends = 0
        # The backend makes and keeps this object: there is no other way to see its dialogue.
        smtp.data = self._data  # type: ignore[method-assign]  # on this one object, see above
        smtp.send = self._send  # type: ignore[method-assign]  # on this one object, see above

    @classmethod
    def of(cls, connection: object) -> SmtpMonitor | None:
        """Watch the connection of an opened backend; None when it does not send with ``smtplib``."""
        smtp = getattr(connection, "connection", None)
        return cls(smtp) if isinstance(smtp, smtplib.SMTP) else None

    def begin(self) -> None:
        """Note that a new message begins."""
        self._in_data = False
        self._sends = 0

    @property
    def body_sent(self) -> bool:
        """Whether the whole message was handed over, so that the server may have accepted it."""
        # The first thing that data() sends is the command, the second the message with its end.
        return self._sends >= 2

    def _data(self, msg: Any) -> tuple[int, bytes]:
        self._in_data = True
        return self._smtp_data(msg)

    def _send(self, s: Any) -> None:
        self._smtp_send(s)
        if self._in_data:
            self._sends += 1
