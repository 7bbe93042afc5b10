"""Reads addresses: the id or the public name of a chat."""

from __future__ import annotations

import re
from typing import Final

from dsn_core.exceptions import InvalidAddress

_ID: Final = re.compile(r"-?[1-9][0-9]{0,19}", re.ASCII)
_NAME: Final = re.compile(r"@[A-Za-z][A-Za-z0-9_]{3,31}", re.ASCII)

#: Seconds between two messages to one person (1/s), and to one group or channel (20/min).
PERSON_INTERVAL: Final = 1.0
GROUP_INTERVAL: Final = 3.0


def chat_of(address: str) -> str:
    """The chat's id (``"123456789"``, ``"-1001234567890"`` for a group) or public name (``"@cinema_news"``).

    Raises :class:`~dsn_core.exceptions.InvalidAddress` when it can be neither.
    """
    chat = address.strip()
    if _ID.fullmatch(chat) or _NAME.fullmatch(chat):
        return chat
    raise InvalidAddress(
        f"{address[:100]!r} is no chat of Telegram: that is a number, negative for groups, or the @name of a channel."
    )


def interval_of(chat: str) -> float:
    """Seconds that must lie between two messages to ``chat``."""
    return GROUP_INTERVAL if chat.startswith(("-", "@")) else PERSON_INTERVAL
