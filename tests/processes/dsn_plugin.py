"""A messenger whose sending fires signals of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from dsn_core import BaseMessenger, Message, Receipt, hookimpl


class SavingMessenger(BaseMessenger):
    """Saves a place for each message, which takes a moment."""

    name = "saving"
    batch_size = 1

    def send_messages(self, messages: Sequence[Message]) -> Iterator[Receipt]:
        from tests.testapp.models import Place

        for message in messages:
            Place.objects.create(name=message.text[:50])
            time.sleep(0.02)
            yield Receipt.sent(message=message)


@hookimpl
def dsn_messengers() -> list[type[BaseMessenger]]:
    return [SavingMessenger]
