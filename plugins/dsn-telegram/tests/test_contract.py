"""The contract that every messenger keeps, over HTTP to a process that behaves like the Bot API."""

from __future__ import annotations

from typing import Any

import pytest

from dsn_core.testing import MessengerContract
from dsn_telegram import TelegramMessenger, TelegramOptions


class TestTelegram(MessengerContract):
    address = "4711"

    @pytest.fixture
    def messenger(self, telegram: dict[str, Any]) -> TelegramMessenger:
        return TelegramMessenger("telegram", TelegramOptions(**telegram))
