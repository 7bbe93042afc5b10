"""The options of the messenger, from ``DSN["MESSENGERS"]["telegram"]``, and where they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings

from dsn_core import Options, secret
from dsn_core.exceptions import ConfigurationError

#: The messenger's name, and the key that makes another name an account of it.
NAME: Final = "telegram"
_ACCOUNT_OF: Final = "MESSENGER"


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

    @property
    def bot_id(self) -> str:
        """The bot's own id, the part of the token that is no secret; ``"0"`` where the token is none."""
        number, colon, _ = self.BOT_TOKEN.partition(":")
        return number if colon and number.isdecimal() else "0"


def options_of(alias: str) -> TelegramOptions:
    """The options of the messenger ``telegram`` or of an account of it.

    Raises :class:`~dsn_core.exceptions.ConfigurationError` when ``alias`` is neither, or they cannot be used.
    """
    given = _configured().get(alias, {})
    if not isinstance(given, Mapping) or given.get(_ACCOUNT_OF, alias) != NAME:
        raise ConfigurationError(f"DSN['MESSENGERS'] has no account {alias!r} of the messenger {NAME!r}.")
    try:
        return TelegramOptions.from_mapping({key: value for key, value in given.items() if key != _ACCOUNT_OF})
    except ConfigurationError as error:
        raise ConfigurationError(f"DSN['MESSENGERS'][{alias!r}]: {error}") from None


def accounts() -> list[str]:
    """The names under which the messenger is configured, sorted."""
    return sorted(
        alias
        for alias, given in _configured().items()
        if isinstance(given, Mapping) and given.get(_ACCOUNT_OF, alias) == NAME
    )


def _configured() -> Mapping[str, Any]:
    given = getattr(settings, "DSN", None)
    found = given.get("MESSENGERS", {}) if isinstance(given, Mapping) else {}
    return found if isinstance(found, Mapping) else {}
