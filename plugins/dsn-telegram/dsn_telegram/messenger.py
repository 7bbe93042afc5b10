"""The messenger ``telegram``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from django.core.checks import CheckMessage

from dsn_core import BaseMessenger, Message, Receipt
from dsn_core import Options as AnyOptions
from dsn_core.exceptions import InvalidAddress
from dsn_telegram import checks
from dsn_telegram.bot import bot_of
from dsn_telegram.courier import Courier
from dsn_telegram.extra import Unsendable
from dsn_telegram.letters import Letter, letter_of
from dsn_telegram.options import NAME, TelegramOptions


class TelegramMessenger(BaseMessenger):
    """Sends by a Telegram bot.

    A template can add to its message ``extra["telegram"]``, a dict with ``buttons``, ``silent``,
    ``protect_content``, ``link_preview``, ``message_thread_id`` and ``attachments``.
    """

    name = NAME
    parts = ("subject", "text", "html")
    #: Enough to keep all connections busy while a batch is claimed and settled.
    batch_size = 250
    profile_field = "telegram_chat_id"
    Options: ClassVar[type[AnyOptions]] = TelegramOptions

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._courier: Courier | None = None

    def stop(self) -> None:
        """Begin no further message: see :meth:`dsn_core.BaseMessenger.stop`."""
        if self._courier is not None:
            self._courier.stop()

    def send_messages(self, messages: Sequence[Message]) -> Iterator[Receipt]:
        """Answer for what cannot be sent before any network is touched, take the chats' turns, send."""
        letters: list[Letter] = []
        for message in messages:
            try:
                letters.append(letter_of(message))
            except InvalidAddress as error:
                yield Receipt.invalid_address(str(error), message=message)
            except Unsendable as error:
                yield Receipt.failed(str(error), message=message)
        if not letters:
            return
        # Its tables cannot be imported before Django is set up, and this class is.
        from dsn_telegram import progress, turns

        bot = bot_of(self.options)
        now, later = turns.take(bot.id, letters)
        yield from later
        progress.resume(bot.id, now)
        self._courier = Courier(bot, self.options)
        for delivered in self._courier.deliver(now):
            if delivered.moved_from:
                turns.move(bot.id, self.alias, delivered)
            progress.keep(bot.id, delivered)
            yield delivered.receipt

    @classmethod
    def check(cls, options: AnyOptions) -> list[CheckMessage]:
        """What is wrong with the options, without a network call."""
        return checks.problems(options) if isinstance(options, TelegramOptions) else []
