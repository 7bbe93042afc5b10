"""The options of the messenger, from ``DSN["MESSENGERS"]["telegram"]``, and where they are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dsn_core import Options, kit, secret

#: The messenger's name.
NAME: Final = "telegram"


@dataclass(frozen=True, kw_only=True)
class TelegramOptions(Options):
    """Options of the messenger ``telegram``. Only the token has no default."""

    #: What @BotFather says: ``"123456789:AAF..."``.
    BOT_TOKEN: str = secret()
    #: Where the Bot API is. A method's address is ``{API_BASE}/bot{token}/{method}``.
    API_BASE: str = "https://api.telegram.org"
    #: What Telegram must show when it calls the webhook; 1 to 256 of ``A-Z a-z 0-9 _ -``.
    WEBHOOK_SECRET: str = secret(default="")
    #: Messages that all workers together send by this bot.
    RATE: str = "30/s"
    #: How many messages are under way at the same time: enough for 500 a second at 60 ms each.
    CONNECTIONS: int = 32

    @property
    def bot_id(self) -> str:
        """The bot's own id, the part of the token that is no secret; ``"0"`` where the token is none."""
        number, colon, _ = self.BOT_TOKEN.partition(":")
        return number if colon and number.isdecimal() else "0"


def options_of(alias: str) -> TelegramOptions:
    """The options of the messenger ``telegram`` or of an account of it.

    Raises :class:`~dsn_core.exceptions.ConfigurationError` when ``alias`` is neither, or they cannot be used.
    """
    return kit.options_of(alias, NAME, TelegramOptions)


def accounts() -> list[str]:
    """The names under which the messenger is configured, sorted."""
    return kit.accounts_of(NAME)
