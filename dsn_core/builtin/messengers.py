"""The built-in messenger."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from dsn_core.contracts.messages import Message
from dsn_core.contracts.messengers import BaseMessenger
from dsn_core.contracts.receipts import Receipt


class ConsoleMessenger(BaseMessenger):
    """Prints messages, for development and for a first try."""

    name = "console"

    def send_messages(self, messages: Sequence[Message]) -> Iterator[Receipt]:
        for message in messages:
            receiver = message.address or (str(message.user) if message.user is not None else "")
            head = [f"To: {receiver}"] if receiver else []
            if message.subject:
                head.append(f"Subject: {message.subject}")
            # sys.stdout is looked up at each call, since tests and servers replace it.
            print("-" * 72, *head, "", message.text, "-" * 72, sep="\n", file=sys.stdout, flush=True)  # noqa: T201 - its task
            yield Receipt.sent(message=message)
