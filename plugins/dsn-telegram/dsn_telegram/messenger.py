"""The messenger ``telegram``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from django.core.checks import CheckMessage

from dsn_core import BaseMessenger, Message, Receipt
from dsn_core import Options as AnyOptions
from dsn_core.exceptions import InvalidAddress
from dsn_telegram import checks
from dsn_telegram.bot import Bot
from dsn_telegram.calls import Outgoing, prepare
from dsn_telegram.extra import Unsendable
from dsn_telegram.options import NAME, TelegramOptions
from dsn_telegram.transport import Transport


class TelegramMessenger(BaseMessenger):
    """Sends by a Telegram bot.

    A template can add to its message ``extra["telegram"]``, a dict with ``buttons``, ``silent``,
    ``protect_content``, ``link_preview``, ``message_thread_id`` and ``attachments``.
    """

    name = NAME
    parts = ("subject", "text", "html")
    #: Enough to keep all connections busy while a batch is claimed and settled.
    batch_size = 250
    concurrent = True
    profile_field = "telegram_chat_id"
    Options: ClassVar[type[AnyOptions]] = TelegramOptions

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._transport: Transport | None = None

    def stop(self) -> None:
        """Begin no further message: see :meth:`dsn_core.BaseMessenger.stop`."""
        if self._transport is not None:
            self._transport.stop()

    def send_messages(self, messages: Sequence[Message]) -> Iterator[Receipt]:
        """Answer for what cannot be sent before any network is touched, take the chats' turns, send."""
        ready: list[Outgoing] = []
        for message in messages:
            try:
                ready.append(prepare(message))
            except InvalidAddress as error:
                yield Receipt.invalid_address(str(error), message=message)
            except Unsendable as error:
                yield Receipt.failed(str(error), message=message)
        if not ready:
            return
        # Its tables cannot be imported before Django is set up, and this class is.
        from dsn_telegram import progress, turns

        bot = Bot(self.options)
        now, later = turns.take(bot.id, ready)
        yield from later
        progress.resume(bot.id, now)
        self._transport = Transport(bot, self.options)
        for result in self._transport.send(now):
            if result.moved_from:
                turns.move(bot.id, self.alias, result)
            progress.keep(bot.id, result)
            yield result.receipt

    @classmethod
    def check(cls, options: AnyOptions) -> list[CheckMessage]:
        """What is wrong with the options, without a network call."""
        return checks.problems(options) if isinstance(options, TelegramOptions) else []
