"""Helpers for the tests of projects and plugins.

:class:`MemoryMessenger` keeps sent messages in memory; :class:`MessengerContract` holds the tests that every messenger
must pass; the pytest fixture ``dsn`` (:mod:`dsn_core.testing.pytest_plugin`) registers classes and runs the pipeline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

from dsn_core.contracts.messages import Message
from dsn_core.contracts.messengers import BaseMessenger
from dsn_core.contracts.receipts import Receipt

__all__ = ["MemoryMessenger", "MessengerContract"]


class MemoryMessenger(BaseMessenger):
    """Keeps messages in a list instead of sending them, for tests.

    ``outbox`` holds the sent messages, oldest first. ``answer`` may be set to a function that gets a message and
    returns its receipt, or raises, to simulate a provider that refuses or fails. Both are class attributes; ``reset()``
    empties them.
    """

    name = "memory"

    outbox: ClassVar[list[Message]] = []
    answer: ClassVar[Callable[[Message], Receipt] | None] = None

    def send_messages(self, messages: Sequence[Message]) -> Iterator[Receipt]:
        for message in messages:
            answer = type(self).answer
            receipt = Receipt.sent(message=message) if answer is None else answer(message)
            if receipt.outcome is Receipt.sent().outcome:
                self.outbox.append(message)
            yield receipt

    @classmethod
    def reset(cls) -> None:
        """Forget everything: the outbox and the answer."""
        cls.outbox.clear()
        cls.answer = None


def __getattr__(name: str) -> object:
    # Needs pytest, which the messenger alone does not.
    if name == "MessengerContract":
        from dsn_core.testing.contract import MessengerContract

        return MessengerContract
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
