"""The messenger's addresses, options and checks, and how the plugin registers it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import django
import pytest
from django.contrib.auth.models import User
from django.core.checks import WARNING

from dsn_core import Message, Outcome
from dsn_core.exceptions import ConfigurationError
from dsn_email import EmailMessenger, plugin

HAS_MAILERS = django.VERSION >= (6, 1)


def findings(**options: Any) -> list[str | None]:
    return [found.id for found in EmailMessenger.check(EmailMessenger.Options.from_mapping(options))]


def test_the_plugin_registers_one_messenger_that_keeps_its_contract() -> None:
    (messenger,) = plugin.dsn_messengers()
    messenger.check_contract()
    assert messenger.name == "email"
    assert messenger.description


# Addresses


def test_a_user_s_address_is_the_user_model_s_email_field() -> None:
    ann, bob = User(pk=1, email=" ann@example.org"), User(pk=2, email="")
    messenger = EmailMessenger()
    assert messenger.needs_address
    assert messenger.addresses([ann, bob]) == {1: "ann@example.org"}


def test_a_user_model_can_call_its_field_what_it_likes() -> None:
    class Member:
        pk = 5
        mail_address = "ann@example.org"

        @classmethod
        def get_email_field_name(cls) -> str:
            return "mail_address"

    assert EmailMessenger().addresses([Member()]) == {5: "ann@example.org"}


def test_a_user_model_from_scratch_is_asked_for_email() -> None:
    users = [SimpleNamespace(pk=1, email="ann@example.org"), SimpleNamespace(pk=2), SimpleNamespace(pk=3, email=None)]
    assert EmailMessenger().addresses(users) == {1: "ann@example.org"}


def test_the_address_path_of_the_settings_goes_before() -> None:
    user = SimpleNamespace(pk=1, email="private@example.org", profile=SimpleNamespace(work="ann@example.org"))
    assert EmailMessenger(address_path="profile.work").addresses([user]) == {1: "ann@example.org"}


# Options and checks


def test_all_options_have_a_default_that_the_checks_accept() -> None:
    assert EmailMessenger().options.TIMEOUT == 10
    assert findings() == []


def test_good_options_have_no_findings() -> None:
    options = {"FROM": "Cinéma <c@example.org>", "REPLY_TO": ["a@example.org", "B <b@example.org>"]}
    assert findings(**options, HEADERS={"X-Site": "cinema"}, TIMEOUT=3) == []


@pytest.mark.parametrize(
    ("options", "id"),
    [
        ({"FROM": "cinema at example.org"}, "dsn_email.E001"),
        ({"FROM": "cinema@example.org\r\nBcc: eve@example.org"}, "dsn_email.E001"),
        ({"REPLY_TO": "ann"}, "dsn_email.E002"),
        ({"REPLY_TO": ["ann@example.org", ""]}, "dsn_email.E002"),
        ({"HEADERS": {"Bcc": "eve@example.org"}}, "dsn_email.E003"),
        ({"HEADERS": {"X-Kind": "a\nb"}}, "dsn_email.E003"),
    ],
)
def test_each_bad_option_has_its_finding(options: dict[str, Any], id: str) -> None:
    assert findings(**options) == [id]


def test_a_display_name_without_its_quotes_is_a_warning_and_no_error() -> None:
    options = {"FROM": "Foo, Inc. <x@y.example>", "REPLY_TO": ["a@example.org", "Bar, Ltd <b@example.org>"]}
    found = EmailMessenger.check(EmailMessenger.Options.from_mapping(options))
    assert [(item.id, item.level) for item in found] == [("dsn_email.W006", WARNING)] * 2
    assert '"Foo, Inc." <x@y.example>' in found[0].msg
    assert findings(FROM='"Foo, Inc." <x@y.example>') == []


@pytest.mark.parametrize(
    "sender",
    ["Ann <a@x.example>, Bob <b@x.example>", "a@x.example, Bob <b@x.example>", 'Foo" <x@y.example>', "Foo x@y.example>",
     "Foo <x@y.example", "a@ü\u2028.example", "a@" + "ü" * 300 + ".example", "a@-ü.example", "a@\u2764.example"],
)  # fmt: skip
def test_what_is_not_one_mailbox_is_refused_by_the_check_as_it_is_when_sent(sender: str) -> None:
    assert findings(FROM=sender) == ["dsn_email.E001"]
    (receipt,) = EmailMessenger("email", EmailMessenger.Options.from_mapping({"FROM": sender})).send_messages(
        [Message("text", subject="s", id="1", address="ann@example.org")]
    )
    assert receipt.outcome is Outcome.FAILED


def test_no_time_out_at_all_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="TIMEOUT must be float"):
        EmailMessenger.Options.from_mapping({"TIMEOUT": None})


def test_a_bad_default_from_email_is_found(settings: Any) -> None:
    settings.DEFAULT_FROM_EMAIL = "no address"
    assert findings() == ["dsn_email.E001"]
    assert findings(FROM="cinema@example.org") == []


def test_the_option_mailer_is_checked(settings: Any) -> None:
    if not HAS_MAILERS:
        assert findings(MAILER="bulk") == ["dsn_email.E004"]
        return
    settings.MAILERS = {"bulk": {}}
    assert findings(MAILER="bulk") == []
    (found,) = EmailMessenger.check(EmailMessenger.Options.from_mapping({"MAILER": "bluk"}))
    assert found.id == "dsn_email.E005"
    assert "did you mean 'bulk'?" in found.msg
    # Without the option the mailer "default" is used, which is not there.
    assert findings() == ["dsn_email.E005"]


def test_a_finding_shows_no_value() -> None:
    found = EmailMessenger.check(EmailMessenger.Options.from_mapping({"HEADERS": {"X-Key": "canary\n"}}))
    assert "canary" not in repr(found)
