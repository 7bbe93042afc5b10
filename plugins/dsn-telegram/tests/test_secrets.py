"""The token shows nowhere: a canary is searched for in everything that the plugin and its libraries say."""

from __future__ import annotations

import io
import logging
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command

from dsn_core import Outcome
from dsn_core.exceptions import ProviderError
from dsn_telegram import TelegramMessenger, TelegramOptions
from dsn_telegram.bot import Bot

CANARIES = ("canary", "AAF-")


def clean(text: str) -> bool:
    return not any(canary in text for canary in CANARIES)


@pytest.fixture
def everything_logged() -> Iterator[io.StringIO]:
    """What all loggers say, those of httpx and httpcore too, down to the last detail."""
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(1)
    yield said
    root.removeHandler(handler)
    root.setLevel(before)


def test_no_log_has_it(everything_logged: io.StringIO, api: Any, send: Any, to: Any) -> None:
    send(to("1"), to("2", "", html="<b>x</b>"), to("3", extra={"telegram": {"attachments": [("a.txt", b"x")]}}))
    api.script({"cut": "middle"}, {"status": 500, "body": "x"}, {"cut": "before"}, {"status": 302, "body": ""})
    for chat in "4567":
        send(to(chat))
    send(to("8"), API_BASE="http://127.0.0.1:1")
    text = everything_logged.getvalue()
    assert "send_request_headers" in text, "httpcore's details are in the log"
    assert clean(text)


@pytest.mark.parametrize(
    ("script", "base"),
    [
        ({"cut": "middle"}, ""),
        ({"cut": "before"}, ""),
        ({"delay": 2, "status": 200, "body": ""}, ""),
        (None, "http://127.0.0.1:1"),
        (None, "https://127.0.0.1:1"),
        (None, "http://[bad"),
    ],
)
def test_no_exception_has_it(api: Any, telegram: dict[str, Any], script: Any, base: str) -> None:
    if script:
        api.script(script)
    bot = Bot(TelegramOptions(**telegram | {"API_BASE": base or api.url, "TIMEOUT": 0.5}))
    with pytest.raises(ProviderError) as raised:
        bot.call("sendMessage", {"chat_id": 1, "text": "x"})
    assert clean("".join(traceback.format_exception(raised.value)))
    assert clean(repr(raised.value))


def test_what_the_bot_api_repeats_of_it_is_masked(api: Any, dsn: Any, telegram: dict[str, Any], db: None) -> None:
    from dsn_core import Message
    from dsn_core.sending import handing_over

    api.refuse(400, f"Bad Request: no such thing as bot{telegram['BOT_TOKEN']}")
    receipts: dict[str, Any] = {}
    messenger = TelegramMessenger("telegram", TelegramOptions(**telegram))
    handing_over.collect(messenger, [Message("x", id="1", address="1")], lambda: True, receipts)
    assert receipts["1"].outcome is Outcome.FAILED
    assert clean(receipts["1"].reason)
    assert "***" in receipts["1"].reason


def test_no_repr_and_no_check_has_it(telegram: dict[str, Any]) -> None:
    options = TelegramOptions(**telegram | {"BOT_TOKEN": "canary no token", "WEBHOOK_SECRET": "canary?"})
    found = TelegramMessenger.check(options)
    assert {item.id for item in found} >= {"dsn_telegram.E001", "dsn_telegram.E003"}
    assert clean(repr(found) + repr(options) + repr(Bot(options)))


def test_no_command_has_it(api: Any, telegram: dict[str, Any], db: None) -> None:
    out = io.StringIO()
    call_command("dsn_plugins", stdout=out)
    call_command("dsn_plugins", format="json", stdout=out)
    call_command("dsn_telegram", set_webhook="https://site.example/hook/", stdout=out)
    call_command("dsn_send", "telegram", "42", "Hello", stdout=out)
    assert "provider's id" in out.getvalue()
    assert clean(out.getvalue())
