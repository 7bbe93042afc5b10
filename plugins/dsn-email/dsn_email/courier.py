"""Delivers letters over one connection, and over a new one when that is lost."""

from __future__ import annotations

import dataclasses
import logging
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Final

from dsn_core import Outcome, Receipt
from dsn_email import verdicts
from dsn_email.letters import Letter
from dsn_email.mailers import connect, without_secrets
from dsn_email.options import EmailOptions
from dsn_email.progress import Progress
from dsn_email.verdicts import Verdict

logger = logging.getLogger("dsn_email")

#: Connections that are lost in a row, without one answer of the server, before the rest of the batch waits.
MAX_LOST_CONNECTIONS: Final = 3


class Courier:
    """Takes the letters of one batch to the mail server.

    A letter that the server cannot have accepted when the connection was lost goes once more over
    the next connection. Each receipt names its message.
    """

    def __init__(self, options: EmailOptions) -> None:
        self._options = options
        self._connection: Any = None
        self._progress: Progress | None = None

    def deliver(self, letters: Iterable[Letter]) -> Iterator[Receipt]:
        """Send ``letters`` and yield a receipt for each; a pause speaks for all that follow it."""
        waiting = deque(letters)
        tried_twice: Letter | None = None
        lost_in_a_row = 0
        try:
            while waiting:
                if self._connection is None and (refusal := self._open()):
                    yield from _for_all(waiting, refusal)
                    return
                letter = waiting.popleft()
                verdict = self._send(letter)
                if verdict.lost:
                    self.close()
                    lost_in_a_row += 1
                    if verdict.unsent and letter is not tried_twice:
                        tried_twice = letter
                        waiting.appendleft(letter)
                    else:
                        yield _about(letter, verdict.receipt)
                    if _is_pause(verdict.receipt):
                        return
                    if lost_in_a_row >= MAX_LOST_CONNECTIONS:
                        yield from _for_all(waiting, Receipt.retry(reason=verdict.receipt.reason))
                        return
                else:
                    lost_in_a_row = 0
                    yield _about(letter, verdict.receipt)
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection. What was sent stays sent, so that nothing is raised."""
        connection, self._connection, self._progress = self._connection, None, None
        if connection is not None:
            try:
                connection.close()
            except Exception as error:
                logger.debug("Closing the mail connection: %s", self._said(error, connection))

    def _open(self) -> Receipt | None:
        """Open a connection, or say why there is none."""
        connection: Any = None
        try:
            connection = connect(self._options.MAILER, self._options.TIMEOUT)
            connection.open()
        except Exception as error:
            refusal = verdicts.of_opening(error, self._said(error, connection))
            self._connection = connection
            self.close()
            return refusal
        self._connection, self._progress = connection, Progress.of(connection)
        return None

    def _send(self, letter: Letter) -> Verdict:
        if self._progress:
            self._progress.begin()
        try:
            count = self._connection.send_messages([letter.email])
        except Exception as error:
            return verdicts.of_sending(
                error,
                self._said(error, self._connection),
                smtp=self._progress is not None,
                body_sent=self._progress is not None and self._progress.body_sent,
            )
        if count == 0:
            return Verdict(Receipt.retry(reason="The mail backend says that it sent nothing, and not why."))
        status = getattr(letter.email, "anymail_status", None)
        refusal = verdicts.of_status(status)
        return Verdict(refusal or Receipt.sent(verdicts.provider_id_of(status) or letter.message_id))

    def _said(self, error: Exception, connection: object) -> str:
        return without_secrets(verdicts.said_by(error), connection)


def _for_all(waiting: Iterable[Letter], receipt: Receipt) -> Iterator[Receipt]:
    """``receipt`` for each letter; a pause is said once, since it speaks for all."""
    for letter in waiting:
        yield _about(letter, receipt)
        if _is_pause(receipt):
            return


def _about(letter: Letter, receipt: Receipt) -> Receipt:
    return dataclasses.replace(receipt, message=letter.message)


def _is_pause(receipt: Receipt) -> bool:
    return receipt.outcome is Outcome.PAUSE
