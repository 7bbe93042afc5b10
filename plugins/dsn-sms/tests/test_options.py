"""Options, checks, providers of other packages, and how the plugin registers itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import call_command

from dsn_core import Receipt
from dsn_core.contracts.receipts import Outcome
from dsn_core.exceptions import ConfigurationError
from dsn_core.plugins.registry import registry
from dsn_sms import Meaning, SMSMessenger, SMSOptions, error_tables, plugin, providers
from dsn_sms.meanings import meaning_of

ACCOUNT = "AC0123456789abcdef0123456789abcdef"
TWILIO = {"PROVIDER": "twilio", "FROM": "+4930901820", "ACCOUNT_SID": ACCOUNT, "AUTH_TOKEN": "canary-token"}
VONAGE = {"PROVIDER": "vonage", "FROM": "Cinema", "API_KEY": "a1", "API_SECRET": "canary-token"}
SNS = {"PROVIDER": "sns", "AWS_REGION": "eu-west-1"}
GATEWAY = {"PROVIDER": "http", "URL": "https://gw.example/send?key=canary-token&to={to}"}
CONSOLE = {"PROVIDER": "console"}
TOPIC = "arn:aws:sns:eu-west-1:123456789012:sms"


def findings(given: dict[str, Any], **more: Any) -> list[str | None]:
    return [found.id for found in SMSMessenger.check(SMSOptions.from_mapping(given | more))]


def test_the_plugin_registers_a_messenger_and_a_verb() -> None:
    (messenger,) = plugin.dsn_messengers()
    messenger.check_contract()
    assert (messenger.name, messenger.parts, messenger.profile_field) == ("sms", ("text",), "phone")
    (registration,) = plugin.dsn_signals()
    assert registration.name == "sms_received"
    assert registration.target == "kind"


@pytest.mark.parametrize("given", [TWILIO, VONAGE, SNS, GATEWAY, CONSOLE], ids=lambda given: given["PROVIDER"])
def test_the_least_that_a_provider_needs_has_no_findings(given: dict[str, Any]) -> None:
    assert findings(given) == []


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({}, "PROVIDER is missing"),
        ({"PROVIDER": ""}, "PROVIDER is missing"),
        ({"PROVIDER": 7}, "PROVIDER must be str"),
        ({"PROVIDER": "twlio"}, "did you mean 'twilio'"),
        ({"PROVIDER": "twilio"}, "ACCOUNT_SID is missing"),
        (TWILIO | {"API_SECRET": "x"}, "API_SECRET is not an option"),
        (TWILIO | {"AUTH_TOKEN": ""}, "AUTH_TOKEN is empty"),
        (TWILIO | {"MAX_SEGMENTS": 0}, "MAX_SEGMENTS must be 1 or more"),
        (TWILIO | {"CONNECTIONS": 0}, "CONNECTIONS must be a number from 1 to 200"),
        (TWILIO | {"LONG_TEXT": "split"}, "LONG_TEXT must be one of 'fail', 'cut'"),
        (TWILIO | {"ALLOWED_COUNTRIES": "DE"}, "ALLOWED_COUNTRIES must be"),
        (TWILIO | {"TIMEOUT": 0}, "TIMEOUT must be more than 0"),
        (TWILIO | {"RATE": "often"}, "RATE"),
    ],
)
def test_what_is_wrong_is_said_without_a_value(given: dict[str, Any], problem: str) -> None:
    found = "; ".join(SMSOptions.problems(given))
    assert problem in found
    assert "canary" not in found
    with pytest.raises(ConfigurationError):
        SMSOptions.from_mapping(given)


@pytest.mark.parametrize(
    ("given", "id"),
    [
        (TWILIO | {"FROM": ""}, "dsn_sms.E001"),
        (VONAGE | {"FROM": ""}, "dsn_sms.E001"),
        (TWILIO | {"REGION": "Germany"}, "dsn_sms.E002"),
        (TWILIO | {"ALLOWED_COUNTRIES": ["DE", "XX"]}, "dsn_sms.E002"),
        (TWILIO | {"REFUSED_COUNTRIES": ["UK"]}, "dsn_sms.E002"),
        (TWILIO | {"SENDERS": {"us": "+1"}}, "dsn_sms.E002"),
        (TWILIO | {"ERRORS": {"21610": "ignore"}}, "dsn_sms.E003"),
        (TWILIO | {"API_BASE": "http://api.example"}, "dsn_sms.E004"),
        (TWILIO | {"API_BASE": "http://127.0.0.1.example"}, "dsn_sms.E004"),
        (TWILIO | {"API_BASE": "http://[::1"}, "dsn_sms.E004"),
        (TWILIO | {"API_BASE": "ftp://127.0.0.1"}, "dsn_sms.E004"),
        (TWILIO | {"PUBLIC_URL": "http://www.example.org"}, "dsn_sms.E004"),
        (TWILIO | {"ACCOUNT_SID": "AC1"}, "dsn_sms.E010"),
        (GATEWAY | {"URL": "http://gw.example/"}, "dsn_sms.E004"),
        (GATEWAY | {"URL": "https://gw.example/{number}"}, "dsn_sms.E020"),
        (GATEWAY | {"URL": "https://gw.example/{to!r}"}, "dsn_sms.E020"),
        (GATEWAY | {"BODY": '{"to": "{to}"}'}, "dsn_sms.E020"),
        (GATEWAY | {"BODY": {"a": ["{nobody}"]}}, "dsn_sms.E020"),
        (GATEWAY | {"SUCCESS_PATTERN": "("}, "dsn_sms.E021"),
        (GATEWAY | {"MESSAGE_ID_PATTERN": "id=.*"}, "dsn_sms.E021"),
        (GATEWAY | {"BODY": {"a": 1}, "FORMAT": "xml"}, "dsn_sms.E022"),
        (GATEWAY | {"BODY": "a", "METHOD": "GET"}, "dsn_sms.E022"),
        (SNS | {"ACCESS_KEY_ID": "AKID"}, "dsn_sms.E031"),
        (SNS | {"TOPICS": ["sms"]}, "dsn_sms.E032"),
    ],
)
def test_each_bad_option_has_its_finding(given: dict[str, Any], id: str) -> None:
    found = SMSMessenger.check(SMSOptions.from_mapping(given))
    assert id in [item.id for item in found]
    assert all(item.hint or item.id == "dsn_sms.E021" for item in found)
    assert "canary" not in repr(found)


@pytest.mark.parametrize(
    "base", ["http://127.0.0.1:8000", "http://localhost", "http://[::1]:8000", "https://api.example"]
)
def test_this_machine_needs_no_https(base: str) -> None:
    assert findings(TWILIO, API_BASE=base) == []


def test_a_public_url_without_the_callback_s_address_is_told(callbacks: Any, settings: Any) -> None:
    assert findings(TWILIO, PUBLIC_URL="https://www.example.org") == []
    settings.ROOT_URLCONF = "tests.urls"
    assert findings(TWILIO, PUBLIC_URL="https://www.example.org") == ["dsn_sms.W005"]


def test_sns_without_its_libraries_says_how_to_install_them(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (found,) = SMSMessenger.check(SMSOptions.from_mapping(SNS))
    assert (found.id, "dsn-sms[sns]" in (found.hint or "")) == ("dsn_sms.E030", True)


def test_options_are_those_of_the_provider() -> None:
    options = SMSOptions.from_mapping(TWILIO)
    assert "ACCOUNT_SID" in {field.name for field in fields(options)}
    assert "canary" not in repr(options)
    assert options.mask("it said canary-token") == "it said ***"
    assert SMSOptions.from_mapping(VONAGE).RATE == "30/s"
    assert SMSOptions.from_mapping(SNS).rate is not None


def test_the_keys_in_a_gateway_s_address_and_headers_are_masked() -> None:
    given = GATEWAY | {"HEADERS": {"Authorization": "Bearer canary-bearer"}}
    options = SMSOptions.from_mapping(given | {"URL": "https://me:canary-pass@gw.example/?key=canary%20token&to={to}"})
    for text in ("canary-bearer", "canary-pass", "canary token", options.URL):  # type: ignore[attr-defined]
        assert "canary" not in options.mask(f"it said {text}")
    assert "canary" not in repr(options)


def test_dsn_plugins_shows_whether_it_is_ready(settings: Any, capsys: Any) -> None:
    settings.DSN = {"MESSENGERS": {"sms": CONSOLE, "us": {"MESSENGER": "sms", **TWILIO, "AUTH_TOKEN": ""}}}
    call_command("dsn_plugins")
    shown = capsys.readouterr().out
    assert "sms: ready" in shown
    assert "AUTH_TOKEN is empty" in shown
    assert "canary" not in shown


@pytest.mark.django_db
def test_dsn_send_sends_one_message(settings: Any, capsys: Any) -> None:
    settings.DSN = {"MESSENGERS": {"sms": CONSOLE | {"REGION": "DE"}}}
    call_command("dsn_send", "sms", "0151 12345678", "Hello")
    assert "SMS to +4915112345678" in capsys.readouterr().out


# Addresses


@pytest.mark.django_db
def test_a_user_s_number_is_that_of_the_profile(settings: Any) -> None:
    settings.DSN = {"MESSENGERS": {"sms": CONSOLE}, "ADDRESSES": {"sms": "profile.phone"}}
    ann, bob = SimpleNamespace(pk=1, profile=SimpleNamespace(phone="+49151")), SimpleNamespace(pk=2, profile=None)
    assert registry.messenger("sms").addresses([ann, bob]) == {1: "+49151"}


@pytest.mark.django_db
def test_a_project_needs_no_profile(settings: Any) -> None:
    from django.contrib.auth.models import User

    from dsn_core import find_users, store_address

    settings.DSN = {"MESSENGERS": {"sms": CONSOLE}}
    ann = User.objects.create_user("ann")
    store_address(ann, "sms", "+4915112345678")
    assert list(find_users("sms", "+4915112345678")) == [ann]


# Tables


@pytest.mark.parametrize("name", ["TWILIO", "VONAGE", "SNS"])
def test_a_table_has_each_code_once_and_only_meanings(name: str) -> None:
    table = getattr(error_tables, name)
    assert table
    assert set(table.values()) <= set(Meaning)
    source = Path(error_tables.__file__).read_text(encoding="utf-8")
    part = source[source.index(f"{name}: Final") :].partition("\n)\n")[0]
    codes = [word for line in part.splitlines() if "#" not in line for word in line.replace('"', " ").split()]
    assert all(codes.count(code.replace(" ", "_")) == 1 for code in table)


@pytest.mark.parametrize(
    ("code", "status", "meaning"),
    [
        ("7", 500, "address"),
        ("8", 503, "transient"),
        ("8", 500, "unknown"),
        ("", 404, "permanent"),
        ("", 599, "unknown"),
    ],
)
def test_a_code_goes_before_a_status_and_a_table_before_the_default(code: str, status: int, meaning: str) -> None:
    assert meaning_of({"7": Meaning.ADDRESS, "HTTP 503": Meaning.TRANSIENT}, code, status) == meaning


# A provider of another package


@pytest.fixture
def pigeon_post(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Install a distribution ``pigeon-post`` whose entry point names this in its module."""

    def install(named: str) -> None:
        info = tmp_path / "pigeon_post-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pigeon-post\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(
            f"[dsn_sms]\npigeon = pigeon_post:{named}\ntwilio = pigeon_post:{named}\n"
        )
        (tmp_path / "pigeon_post.py").write_text(
            "from dataclasses import dataclass\n"
            "from dsn_core import Receipt, secret\n"
            "from dsn_sms import BaseProvider, SMSOptions\n"
            "@dataclass(frozen=True, kw_only=True)\n"
            "class PigeonOptions(SMSOptions):\n"
            "    LOFT: str\n"
            "    KEY: str = secret(default='')\n"
            "class PigeonProvider(BaseProvider):\n"
            "    name = 'pigeon'\n"
            "    Options = PigeonOptions\n"
            "    def send(self, sms):\n"
            "        if sms.country == 'US':\n"
            "            return self.refusal('too far', 0)\n"
            "        return Receipt.sent(f'{self.options.LOFT}:{sms.to}')\n"
        )

    monkeypatch.syspath_prepend(tmp_path)
    providers.find.cache_clear()
    yield install
    providers.find.cache_clear()
    sys.modules.pop("pigeon_post", None)


def test_another_package_brings_a_provider_by_entry_point(pigeon_post: Any, text_to: Any) -> None:
    pigeon_post("PigeonProvider")
    assert SMSOptions.problems({"PROVIDER": "pigeon"}) == ["LOFT is missing"]
    options = SMSOptions.from_mapping({"PROVIDER": "pigeon", "LOFT": "roof", "ERRORS": {"too far": "transient"}})
    receipts: list[Receipt] = list(SMSMessenger("sms", options).send_messages([text_to(), text_to("+12015550123")]))
    assert {receipt.outcome for receipt in receipts} == {Outcome.SENT, Outcome.RETRY}
    assert "roof:+4915112345678" in {receipt.provider_id for receipt in receipts}
    # Ours keep their names.
    assert SMSOptions.problems(TWILIO) == []


@pytest.mark.parametrize("named", ["PigeonOptions", "Nothing"])
def test_an_entry_point_that_is_no_provider_is_told(named: str, pigeon_post: Any) -> None:
    pigeon_post(named)
    (problem,) = SMSOptions.problems({"PROVIDER": "pigeon"})
    assert "pigeon" in problem
