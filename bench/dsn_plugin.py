"""The plugin of the measured project: a signal, a message template, and messengers that cost almost nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from typing import ClassVar

from django.dispatch import Signal

from dsn_core import BaseMessageTemplate, BaseMessenger, Message, Receipt, SignalRegistration, hookimpl

released = Signal()

#: Seconds that the messenger ``slow`` takes for a batch.
SLOW = 0.02


class Nothing(BaseMessenger):
    """Does nothing."""

    name = "nothing"
    address_path = "email"

    def send_messages(self, messages: Sequence[Message]) -> Iterator[Receipt]:
        for message in messages:
            yield Receipt.sent(message=message)


class Slow(Nothing):
    """Takes its time for a batch, as a provider does."""

    name = "slow"
    batch_size: ClassVar[int] = 20

    def send_messages(self, messages: Sequence[Message]) -> Iterator[Receipt]:
        time.sleep(SLOW)
        yield from super().send_messages(messages)


class Noting(Nothing):
    """Writes down when it is given a batch, by the clock that all processes share."""

    name = "noting"

    def send_messages(self, messages: Sequence[Message]) -> Iterator[Receipt]:
        with open(os.environ["DSN_BENCH_NOTES"], "a") as notes:  # noqa: PTH123
            notes.writelines(f"{time.monotonic()}\n" for _ in messages)
        yield from super().send_messages(messages)


class Greeting(BaseMessageTemplate):
    """A message as a project has them."""

    name = "greeting"
    subject = "{{ film }} can be seen"
    text = "Hello {{ user.first_name }} {{ user.last_name }},\n\n{{ film }} can be seen from now on.\n"


@hookimpl
def dsn_signals() -> list[SignalRegistration]:
    return [SignalRegistration("released", released, provides=["film"])]


@hookimpl
def dsn_messengers() -> list[type[BaseMessenger]]:
    return [Nothing, Noting, Slow]


@hookimpl
def dsn_message_templates() -> list[type[BaseMessageTemplate]]:
    return [Greeting]
