"""Sends the e-mails of one batch over one connection, and over a new one when that is lost."""

from __future__ import annotations

import dataclasses
import logging
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Final

from django.core.mail.backends.smtp import EmailBackend

from dsn_core import Outcome, Receipt
from dsn_email import error_mapping
from dsn_email.error_mapping import SendResult
from dsn_email.mailers import connect, without_secrets
from dsn_email.messages import OutgoingMessage
from dsn_email.options import EmailOptions
from dsn_email.skeletons import Skeletons
from dsn_email.smtp_monitor import SmtpMonitor

logger = logging.getLogger("dsn_email")

#: Connections that are lost in a row, without one answer of the server, before the rest of the batch waits.
MAX_LOST_CONNECTIONS: Final = 3
_REASON_LENGTH: Final = 500


class Transport:
    """Sends the messages of one batch to the mail server.

    A message that the server cannot have accepted when the connection was lost is sent once more over
    the next connection. Each receipt names its message.
    """

    def __init__(self, options: EmailOptions) -> None:
        self._options = options
        self._connection: Any = None
        self._monitor: SmtpMonitor | None = None
        #: Whether the backend is Django's own for SMTP: one that is made from it may do more with an e-mail.
        self._is_smtp = False
        self._skeletons = Skeletons()

    def send(self, messages: Iterable[OutgoingMessage]) -> Iterator[Receipt]:
        """Send ``messages`` and yield a receipt for each; a pause holds for all that follow it."""
        waiting = deque(messages)
        sent_again: OutgoingMessage | None = None
        lost_in_a_row = 0
        try:
            while waiting:
                if self._connection is None and (refusal := self._open()):
                    yield from _for_all(waiting, refusal)
                    return
                message = waiting.popleft()
                result = self._send(message)
                if result.connection_lost:
                    self.close()
                    lost_in_a_row += 1
                    if result.not_accepted and message is not sent_again:
                        sent_again = message
                        waiting.appendleft(message)
                    else:
                        yield _about(message, result.receipt)
                    if _is_pause(result.receipt):
                        return
                    if lost_in_a_row >= MAX_LOST_CONNECTIONS:
                        yield from _for_all(waiting, Receipt.retry(reason=result.receipt.reason))
                        return
                else:
                    lost_in_a_row = 0
                    yield _about(message, result.receipt)
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection. Errors are logged only: what was sent stays sent."""
        connection, self._connection, self._monitor = self._connection, None, None
        if connection is not None:
            try:
                connection.close()
            except Exception as error:
                said, exc_info = self._said(error, connection), self._exc_info(error, connection)
                logger.debug("Closing the mail connection: %s", said, exc_info=exc_info)

    def _open(self) -> Receipt | None:
        """Open a connection, or say why there is none."""
        connection: Any = None
        try:
            connection = connect(self._options.MAILER, self._options.TIMEOUT)
            connection.open()
        except Exception as error:
            refusal = error_mapping.of_opening(error, self._said(error, connection))
            self._connection = connection
            self.close()
            return refusal
        self._connection, self._monitor = connection, SmtpMonitor.of(connection)
        self._is_smtp = type(connection) is EmailBackend and self._monitor is not None
        return None

    def _send(self, message: OutgoingMessage) -> SendResult:
        if self._monitor:
            self._monitor.begin()
        try:
            if self._is_smtp and (written := self._skeletons.write(message)) is not None:
                self._connection.connection.sendmail(message.sender.address, [message.address], written)
                return SendResult(Receipt.sent(message.message_id))
            count = self._connection.send_messages([message.email])
        except Exception as error:
            said = self._said(error, self._connection)
            body_sent = self._monitor is not None and self._monitor.body_sent
            result = error_mapping.of_sending(error, said, smtp=self._monitor is not None, body_sent=body_sent)
            if result.unexpected:
                exc_info = self._exc_info(error, self._connection)
                logger.error("The mail backend raised an unknown error. %s", said, exc_info=exc_info)
            return result
        if count == 0:
            return SendResult(Receipt.retry(reason="The mail backend says that it sent nothing, and not why."))
        status = getattr(message.email, "anymail_status", None)
        refusal = error_mapping.of_status(status)
        return SendResult(refusal or Receipt.sent(error_mapping.provider_id_of(status) or message.message_id))

    def _said(self, error: Exception, connection: object) -> str:
        """What ``error`` says, in one line of at most 500 characters, without secrets."""
        return " ".join(without_secrets(error_mapping.said_by(error), connection).split())[:_REASON_LENGTH]

    def _exc_info(self, error: Exception, connection: object) -> Any:
        return self._options.exc_info(error, also=lambda text: without_secrets(text, connection))


def _for_all(waiting: Iterable[OutgoingMessage], receipt: Receipt) -> Iterator[Receipt]:
    """``receipt`` for each message; a pause only once, since it holds for all."""
    for message in waiting:
        yield _about(message, receipt)
        if _is_pause(receipt):
            return


def _about(message: OutgoingMessage, receipt: Receipt) -> Receipt:
    return dataclasses.replace(receipt, message=message.message)


def _is_pause(receipt: Receipt) -> bool:
    return receipt.outcome is Outcome.PAUSE
