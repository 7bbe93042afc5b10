"""dsn-telegram: the messenger ``telegram`` of dsn-core, which sends through Telegram's Bot API."""

from __future__ import annotations

from dsn_telegram.messenger import TelegramMessenger
from dsn_telegram.options import TelegramOptions

__all__ = ["TelegramMessenger", "TelegramOptions"]
