"""What the entry point ``telegram`` names: the plugin's hooks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from dsn_core import BaseMessenger, SignalRegistration, hookimpl
from dsn_telegram.messenger import TelegramMessenger
from dsn_telegram.signals import telegram_connected, telegram_disconnected

#: It has models, commands and template tags.
required_apps: Final = ["dsn_telegram"]


@hookimpl
def dsn_messengers() -> Iterable[type[BaseMessenger]]:
    """The messenger ``telegram``."""
    return [TelegramMessenger]


@hookimpl
def dsn_signals() -> Iterable[SignalRegistration]:
    """What users do with their Telegram account, as verbs: for a welcome, say."""
    provides = ["user", "messenger"]
    return [
        SignalRegistration(
            "telegram_connected", telegram_connected, provides, actor_object="user",
            description="A user connected a Telegram account, and confirmed it.",
        ),
        SignalRegistration(
            "telegram_disconnected", telegram_disconnected, provides, actor_object="user",
            description="A user disconnected their Telegram account.",
        ),
    ]  # fmt: skip
