"""What the providers are asked, and what their answers mean."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import parse_qs, quote

import pytest

from dsn_core import Receipt
from dsn_core.contracts.receipts import Outcome
from dsn_sms import addresses

ACCOUNT = "AC0123456789abcdef0123456789abcdef"
TOKEN = "canary-auth-token-0123456789"
SERVICE = "MG0123456789abcdef0123456789abcdef"


def form(request: dict[str, Any]) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(request["body"], strict_parsing=True).items()}


# Twilio


def test_twilio_is_asked_for_one_message(provider: Any, send: Any, text_to: Any) -> None:
    (receipt,) = send(text_to("0151 12345678", "Grüße \u2013 “Solaris” & more"))
    assert receipt.outcome is Outcome.SENT
    assert receipt.provider_id.startswith("SM")
    (request,) = provider.requests
    assert (request["method"], request["target"]) == ("POST", f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json")
    assert base64.b64decode(request["headers"]["authorization"].removeprefix("Basic ")).decode() == f"{ACCOUNT}:{TOKEN}"
    assert form(request) == {"To": "+4915112345678", "From": "+4930901820", "Body": 'Grüße - "Solaris" & more'}


def test_twilio_is_told_where_to_report(callbacks: Any, provider: Any, send: Any, text_to: Any) -> None:
    send(text_to(id="0f3c/ä"), PUBLIC_URL="https://www.example.org/")
    assert form(provider.requests[0])["StatusCallback"] == "https://www.example.org/sms/sms/?message=0f3c%2F%C3%A4"


def test_a_messaging_service_is_no_number(provider: Any, send: Any, text_to: Any) -> None:
    send(text_to(), FROM=SERVICE)
    sent = form(provider.requests[0])
    assert sent["MessagingServiceSid"] == SERVICE
    assert "From" not in sent


def test_each_country_can_have_a_sender(provider: Any, send: Any, text_to: Any) -> None:
    send(text_to(), text_to("+12015550123"), text_to("+18765550123"), FROM="Cinema", SENDERS={"US": "+12015550199"})
    senders = {form(request)["To"]: form(request)["From"] for request in provider.requests}
    assert senders == {"+4915112345678": "Cinema", "+12015550123": "+12015550199", "+18765550123": "Cinema"}


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (400, "21211", Outcome.INVALID_ADDRESS),
        (400, "21610", Outcome.INVALID_ADDRESS),
        (400, "21614", Outcome.INVALID_ADDRESS),
        (400, "21617", Outcome.FAILED),
        (403, "21408", Outcome.FAILED),
        (400, "21606", Outcome.FAILED),
        (401, "20003", Outcome.PAUSE),
        (404, "20404", Outcome.PAUSE),
        (429, "20429", Outcome.PAUSE),
        (429, "14107", Outcome.RETRY),
        (400, "21611", Outcome.RETRY),
        (400, "99999", Outcome.FAILED),
        (403, "99999", Outcome.FAILED),
        (500, "20500", Outcome.UNKNOWN),
        (503, "20503", Outcome.UNKNOWN),
    ],
)
def test_each_error_of_twilio_has_its_receipt(
    status: int, code: str, outcome: Outcome, provider: Any, send: Any, text_to: Any
) -> None:
    provider.script(numbers={"+4915112345678": [status, code, "The provider's words"]})
    (receipt,) = send(text_to())
    assert receipt.outcome is outcome
    assert code in receipt.reason
    assert "The provider's words" in receipt.reason


def test_the_settings_can_say_what_an_error_means(provider: Any, send: Any, text_to: Any) -> None:
    provider.script(numbers={"+4915112345678": [400, "21617", "Too long"], "+4915112345679": [503, "1", "Down"]})
    errors = {"21617": "transient", "HTTP 503": "transient"}
    first, second = send(text_to(), text_to("+4915112345679"), ERRORS=errors)
    assert (first.outcome, second.outcome) == (Outcome.RETRY, Outcome.RETRY)


def test_one_refusal_stops_no_other(provider: Any, send: Any, text_to: Any) -> None:
    provider.script(numbers={"+4915112345600": [400, "21610", "STOP"], "+4915112345601": [400, "30007", "Spam"]})
    receipts = send(*[text_to(f"+49151123456{number:02}") for number in range(20)])
    outcomes = [receipt.outcome for receipt in receipts]
    assert outcomes == [Outcome.INVALID_ADDRESS, Outcome.FAILED] + [Outcome.SENT] * 18


# Vonage


def test_vonage_is_asked_for_one_message(callbacks: Any, provider: Any, send: Any, text_to: Any) -> None:
    first, second = send(
        text_to(text="Out", id="0f3c"), text_to(text="Солярис"), by="vonage", PUBLIC_URL="https://www.example.org"
    )
    assert (first.outcome, second.outcome) == (Outcome.SENT, Outcome.SENT)
    assert first.provider_id.startswith("aaaaaaaa-")
    bodies = {said["text"]: said for said in (json.loads(request["body"]) for request in provider.requests)}
    assert bodies["Out"] == {
        "message_type": "text",
        "channel": "sms",
        "to": "4915112345678",
        "from": "4930901820",
        "text": "Out",
        "client_ref": "0f3c",
        "sms": {"encoding_type": "text"},
        "webhook_url": f"https://www.example.org/sms/sms/?message={quote(addresses.signed('0f3c', 'sms'))}",
        "webhook_version": "v1",
    }
    assert bodies["Солярис"]["sms"] == {"encoding_type": "unicode"}
    assert {request["target"] for request in provider.requests} == {"/v1/messages"}


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (422, "1170", Outcome.INVALID_ADDRESS),
        (403, "1240", Outcome.INVALID_ADDRESS),
        (422, "1020", Outcome.FAILED),
        (422, "1120", Outcome.FAILED),
        (402, "1070", Outcome.PAUSE),
        (403, "forbidden", Outcome.PAUSE),
        (429, "1000", Outcome.PAUSE),
        (422, "1180", Outcome.RETRY),
        (422, "9999", Outcome.FAILED),
        (500, "1030", Outcome.UNKNOWN),
    ],
)
def test_each_error_of_vonage_has_its_receipt(
    status: int, code: str, outcome: Outcome, provider: Any, send: Any, text_to: Any
) -> None:
    provider.script(numbers={"4915112345678": [status, code, "Words"]})
    (receipt,) = send(text_to(), by="vonage")
    assert receipt.outcome is outcome
    assert code in receipt.reason


# Amazon SNS


def test_sns_is_asked_for_one_message(provider: Any, send: Any, text_to: Any) -> None:
    (receipt,) = send(text_to(text="Grüße 🎬"), by="sns", FROM="Cinema")
    assert receipt.outcome is Outcome.SENT
    assert receipt.provider_id.startswith("sns-")
    (request,) = provider.requests
    sent = form(request)
    assert (sent["Action"], sent["PhoneNumber"], sent["Message"]) == ("Publish", "+4915112345678", "Grüße 🎬")
    attributes = {
        sent[f"MessageAttributes.entry.{n}.Name"]: sent[f"MessageAttributes.entry.{n}.Value.StringValue"]
        for n in (1, 2)
    }
    assert attributes == {"AWS.SNS.SMS.SMSType": "Transactional", "AWS.SNS.SMS.SenderID": "Cinema"}
    assert "Credential=AKIDEXAMPLE/" in request["headers"]["authorization"]


def test_a_number_is_sns_s_origination_number(provider: Any, send: Any, text_to: Any) -> None:
    send(text_to(), by="sns", FROM="+12015550199")
    assert "AWS.MM.SMS.OriginationNumber" in form(provider.requests[0]).values()


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (400, "InvalidParameter", Outcome.FAILED),
        (400, "OptedOut", Outcome.INVALID_ADDRESS),
        (400, "Throttling", Outcome.PAUSE),
        (403, "InvalidClientTokenId", Outcome.PAUSE),
        (403, "SignatureDoesNotMatch", Outcome.PAUSE),
        (403, "SomethingNew", Outcome.PAUSE),
        (400, "SomethingNew", Outcome.FAILED),
        (500, "InternalError", Outcome.UNKNOWN),
        (503, "ServiceUnavailable", Outcome.UNKNOWN),
    ],
)
def test_each_error_of_sns_has_its_receipt_after_one_try(
    status: int, code: str, outcome: Outcome, provider: Any, send: Any, text_to: Any
) -> None:
    provider.script(numbers={"+4915112345678": [status, code, "Words"]})
    (receipt,) = send(text_to(), by="sns")
    assert receipt.outcome is outcome
    assert code in receipt.reason
    assert len(provider.requests) == 1


# Console, dry run, texts


def test_the_console_shows_what_would_be_sent_and_its_cost(send: Any, text_to: Any, capsys: Any) -> None:
    (receipt,) = send(text_to(text="ж" * 80), by="console")
    assert receipt.outcome is Outcome.SENT
    shown = capsys.readouterr().out
    assert "SMS to +4915112345678 (DE) from +4930901820, UCS-2, segments: 2" in shown
    assert "ж" * 80 in shown


@pytest.mark.parametrize("name", ["twilio", "vonage", "sns", "http"])
def test_a_dry_run_does_everything_but_call(name: str, provider: Any, send: Any, text_to: Any) -> None:
    good, bad, long = send(text_to(), text_to("12"), text_to(text="x" * 3000), by=name, DRY_RUN=True)
    assert good.outcome is Outcome.SENT
    assert good.provider_id == "dry-run"
    assert (bad.outcome, long.outcome) == (Outcome.INVALID_ADDRESS, Outcome.FAILED)
    assert provider.seen["connections"] == 1  # that of this question


def test_a_dry_run_finds_a_request_that_cannot_be_made(send: Any, text_to: Any) -> None:
    (receipt,) = send(text_to(), by="http", DRY_RUN=True, BODY={"to": "{nobody}"})
    assert receipt.outcome is Outcome.PAUSE
    assert "nobody" in receipt.reason


def test_a_long_text_fails_with_the_way_out_or_is_cut(provider: Any, send: Any, text_to: Any) -> None:
    (failed,) = send(text_to(text="a" * 400), MAX_SEGMENTS=2)
    assert failed.outcome is Outcome.FAILED
    assert "400 characters and takes 3 segments" in failed.reason
    assert "LONG_TEXT" in failed.reason
    (cut,) = send(text_to(text="a" * 400), MAX_SEGMENTS=2, LONG_TEXT="cut")
    assert cut.outcome is Outcome.SENT
    assert [form(request)["Body"] for request in provider.requests] == ["a" * 303 + "..."]


def test_typography_can_stay(provider: Any, send: Any, text_to: Any) -> None:
    send(text_to(text="“Solaris”"), SMART_ENCODING=False)
    assert form(provider.requests[0])["Body"] == "“Solaris”"


def test_a_message_without_text_fails(provider: Any, send: Any, text_to: Any) -> None:
    (receipt,) = send(text_to(text=" \x00\n"))
    assert (receipt.outcome, receipt.reason) == (Outcome.FAILED, "The message has no text.")
    assert provider.requests == []


# Concurrency


def test_many_are_under_way_at_the_same_time_and_connections_are_used_again(
    provider: Any, send: Any, text_to: Any
) -> None:
    provider.script(delay=0.05)
    receipts = send(*[text_to(f"+49151123{number:05}") for number in range(60)], CONNECTIONS=12)
    assert [receipt.outcome for receipt in receipts] == [Outcome.SENT] * 60
    assert len({receipt.provider_id for receipt in receipts}) == 60
    seen = provider.seen
    assert len(seen["requests"]) == 60
    assert seen["most_under_way"] == 12
    # One more asks for this; another test's may still be open.
    assert seen["connections"] <= 12 + 2


def test_after_a_pause_nothing_more_is_begun(provider: Any, send: Any, text_to: Any) -> None:
    provider.script(mode="status", status=429, retry_after=7, body="{}")
    receipts = send(*[text_to(f"+49151123{number:05}") for number in range(50)], CONNECTIONS=4)
    assert {receipt.outcome for receipt in receipts} == {Outcome.PAUSE}
    assert {receipt.after for receipt in receipts} == {7.0}
    # Those that were under way when the first answer came; the core gives the others back.
    assert len(receipts) == len(provider.requests) <= 7


def test_who_is_told_to_stop_answers_for_what_is_under_way_and_begins_nothing(
    provider: Any, messenger: Any, text_to: Any
) -> None:
    provider.script(delay=0.05)
    made = messenger(CONNECTIONS=5)
    receipts: list[Receipt] = []
    for receipt in made.send_messages([text_to(f"+49151123{number:05}") for number in range(50)]):
        receipts.append(receipt)
        made.stop()
    assert {receipt.outcome for receipt in receipts} == {Outcome.SENT}
    # Each message that left is answered for, so that none is sent again.
    assert len(receipts) == len(provider.requests) == 5


def test_who_is_told_to_stop_before_the_first_call_makes_none(provider: Any, messenger: Any, text_to: Any) -> None:
    made = messenger()
    (refused,) = [made.stop() or receipt for receipt in made.send_messages([text_to("12"), text_to()])]
    assert refused.outcome is Outcome.INVALID_ADDRESS
    assert provider.requests == []
