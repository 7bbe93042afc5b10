"""The messenger's options and checks, and how the plugin registers it."""

from __future__ import annotations

from typing import Any

import pytest

from dsn_core.exceptions import ConfigurationError
from dsn_core.kit.http import is_loopback
from dsn_telegram import TelegramMessenger, TelegramOptions, plugin
from dsn_telegram.options import accounts, options_of

TOKEN = "123456789:AAF-x_y"


def findings(**options: Any) -> list[str | None]:
    found = TelegramMessenger.check(TelegramOptions.from_mapping({"BOT_TOKEN": TOKEN} | options))
    return [item.id for item in found]


def test_the_plugin_registers_one_messenger_that_keeps_its_contract() -> None:
    (messenger,) = plugin.dsn_messengers()
    messenger.check_contract()
    assert messenger.name == "telegram"
    assert messenger.description


def test_the_token_is_all_that_must_be_set() -> None:
    assert findings() == []
    options = TelegramOptions(BOT_TOKEN=TOKEN)
    assert (options.API_BASE, options.RATE, options.TIMEOUT) == ("https://api.telegram.org", "30/s", 10)
    with pytest.raises(ConfigurationError, match="BOT_TOKEN is missing"):
        TelegramOptions.from_mapping({})
    with pytest.raises(ConfigurationError, match="BOT_TOKEN is empty"):
        TelegramOptions.from_mapping({"BOT_TOKEN": ""})


@pytest.mark.parametrize(
    "token", ["x", "123456789", "AAF:123", "123:", f"{TOKEN} ", f"bot{TOKEN}", "1:a/b", "\uff11:a"]
)
def test_what_is_no_token_is_found(token: str) -> None:
    assert findings(BOT_TOKEN=token) == ["dsn_telegram.E001"]


@pytest.mark.parametrize(
    "base",
    ["", "api.telegram.org", "http://api.telegram.org", "http://127.0.0.1.example", "ftp://x", "https://x/?a=1",
     "https://user:pass@x", "https://x:port", "http://[bad", "http://10.0.0.1:8081"],
)  # fmt: skip
def test_an_api_that_would_see_the_token_in_the_clear_is_found(base: str) -> None:
    assert findings(API_BASE=base) == ["dsn_telegram.E002"]


@pytest.mark.parametrize(
    "base", ["https://api.telegram.org/", "https://bots.example/api", "http://127.0.0.1:8081", "http://[::1]:1"]
)
def test_https_and_this_machine_are_fine(base: str) -> None:
    assert findings(API_BASE=base) == []


def test_what_this_machine_is() -> None:
    assert all(map(is_loopback, ["localhost", "a.localhost", "127.0.0.1", "127.8.8.8", "::1"]))
    assert not any(map(is_loopback, ["", "localhost.example", "10.0.0.1", "0.0.0.0", "example.org"]))  # noqa: S104


def test_a_secret_that_telegram_does_not_take_is_found() -> None:
    assert findings(WEBHOOK_SECRET="no blanks") == ["dsn_telegram.E003"]
    assert findings(WEBHOOK_SECRET="x" * 257) == ["dsn_telegram.E003"]
    assert findings(WEBHOOK_SECRET="x" * 256) == []


def test_a_webhook_without_a_secret_is_found(pages: None) -> None:
    assert findings() == ["dsn_telegram.W004"]
    assert findings(WEBHOOK_SECRET="x") == []


def test_accounts_are_found_by_their_name(settings: Any) -> None:
    settings.DSN = {
        "MESSENGERS": {
            "press": {"MESSENGER": "telegram", "BOT_TOKEN": TOKEN},
            "telegram": {},
            "email": {"FROM": "x@example.org"},
        }
    }
    assert accounts() == ["press", "telegram"]
    assert options_of("press").BOT_TOKEN == TOKEN
    with pytest.raises(ConfigurationError, match="BOT_TOKEN is missing"):
        options_of("telegram")
    for other in ("email", "nobody"):
        with pytest.raises(ConfigurationError, match="no account"):
            options_of(other)
    settings.DSN = "a string"
    assert accounts() == []


@pytest.mark.django_db
def test_addresses_are_read_with_one_query_for_a_batch(
    telegram: dict[str, Any], api: Any, dsn: Any, ann: Any, bob: Any
) -> None:
    from dsn_core import BaseMessageTemplate, store_address
    from dsn_core.models import Delivery, Trigger

    class Plain(BaseMessageTemplate):
        name = "plain"
        text = "Hello {{ user.username }}"

    dsn.add(Plain)
    store_address(ann, "telegram", "77")
    Trigger.objects.define("user_logged_in").subscribe(users=[ann, bob], backends=[("telegram", "plain")])
    from django.contrib.auth.signals import user_logged_in

    user_logged_in.send(sender=type(ann), request=None, user=ann)
    dsn.run()
    assert sorted(Delivery.objects.values_list("user__username", "status", "address", "last_error")) == [
        ("ann", "sent", "77", ""),
        ("bob", "skipped", "", "The user has no address for telegram."),
    ]
    assert [call["text"] for call in api.calls] == ["Hello ann"]


@pytest.mark.django_db
def test_a_refused_address_is_told_to_the_project(
    telegram: dict[str, Any], api: Any, dsn: Any, ann: Any, address_of: Any
) -> None:
    from django.contrib.auth.signals import user_logged_in

    from dsn_core import store_address
    from dsn_core.models import Delivery, Trigger
    from dsn_core.signals import address_refused

    heard: list[tuple[str, str, Any]] = []

    def hear(sender: Any, messenger: str, address: str, user: Any, reason: str, **kwargs: Any) -> None:
        heard.append((messenger, address, user))

    api.do("set", blocked=["77"])
    store_address(ann, "telegram", "77")
    Trigger.objects.define("user_logged_in").subscribe(users=[ann], backends=[("telegram", "simple")])
    user_logged_in.send(sender=type(ann), request=None, user=ann)
    address_refused.connect(hear)
    try:
        dsn.run()
    finally:
        address_refused.disconnect(hear)
    assert heard == [("telegram", "77", ann)]
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.attempts) == ("failed", 1)
    assert "blocked by the user" in delivery.last_error
    # Nothing is forgotten: who unblocks the bot gets messages again.
    assert address_of(ann) == "77"
