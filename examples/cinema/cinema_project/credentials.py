"""Secrets, which a real project takes from its environment. These work only with the stand-ins."""

from __future__ import annotations

from typing import Final

BOT_TOKEN: Final = "123456789:AAE-no_bot_has_this_token"
WEBHOOK_SECRET: Final = "nobody_calls_with_this_secret"
SMS_ACCOUNT: Final = "AC00000000000000000000000000000000"
SMS_KEY: Final = "no_account_has_this_key"
