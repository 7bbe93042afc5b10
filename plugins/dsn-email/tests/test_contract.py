"""The contract that every messenger keeps, over SMTP and over a backend without a server."""

from __future__ import annotations

from typing import Any

import pytest

from dsn_core.testing import MessengerContract
from dsn_email import EmailMessenger, EmailOptions


class TestOverSMTP(MessengerContract):
    @pytest.fixture
    def messenger(self, server: Any, use_smtp: Any) -> EmailMessenger:
        use_smtp(server.port)
        return EmailMessenger("email", EmailOptions(FROM="cinema@example.org"))


class TestInMemory(MessengerContract):
    @pytest.fixture
    def messenger(self, in_memory: Any) -> EmailMessenger:
        return EmailMessenger("email", EmailOptions(FROM="cinema@example.org"))
