"""The contract that every messenger keeps, through each provider."""

from __future__ import annotations

from typing import Any

import pytest

from dsn_core.testing import MessengerContract
from dsn_sms import SMSMessenger


class SMSContract(MessengerContract):
    address = "0151 12345678"
    bad_address = "no number"
    provider_name = ""

    @pytest.fixture
    def messenger(self, messenger: Any) -> SMSMessenger:  # type: ignore[override]
        made: SMSMessenger = messenger(self.provider_name)
        return made


class TestTwilio(SMSContract):
    provider_name = "twilio"


class TestVonage(SMSContract):
    provider_name = "vonage"


class TestSNS(SMSContract):
    provider_name = "sns"


class TestGateway(SMSContract):
    provider_name = "http"


class TestConsole(SMSContract):
    provider_name = "console"
