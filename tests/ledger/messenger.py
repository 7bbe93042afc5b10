"""The messenger ``ledger``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence

from dsn_core import BaseMessenger, Message, Receipt


class LedgerMessenger(BaseMessenger):
    """Writes a line for each message into the file that DSN_TEST_LEDGER names.

    Each takes DSN_TEST_LEDGER_SECONDS. The line is written at once, whatever becomes of the process then.
    """

    name = "ledger"
    batch_size = 10

    def send_messages(self, messages: Sequence[Message]) -> Iterator[Receipt]:
        file = os.open(os.environ["DSN_TEST_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            for message in messages:
                time.sleep(float(os.environ.get("DSN_TEST_LEDGER_SECONDS", "0")))
                os.write(file, f"{os.getpid()} {message.id}\n".encode())
                yield Receipt.sent(message=message)
        finally:
            os.close(file)
