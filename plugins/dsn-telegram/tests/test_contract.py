"""The contract that every messenger keeps, over HTTP to a process that behaves like the Bot API."""

from __future__ import annotations

from typing import Any

import pytest

from dsn_core import Message
from dsn_core.testing import MessengerContract
from dsn_telegram import TelegramMessenger, TelegramOptions

pytestmark = pytest.mark.django_db


class TestTelegram(MessengerContract):
    @pytest.fixture
    def messenger(self, telegram: dict[str, Any]) -> TelegramMessenger:
        return TelegramMessenger("telegram", TelegramOptions(**telegram))

    def message(self, number: int = 1, **parts: Any) -> Message:
        """To a chat of its own each: into one chat they would have to follow a second apart."""
        return super().message(number, **{"address": str(4710 + number), **parts})
