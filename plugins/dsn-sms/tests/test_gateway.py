"""A gateway that only options describe."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import pytest

from dsn_core.contracts.receipts import Outcome
from dsn_sms.providers.gateway import follow

TEXT = 'Grüße & <b>"é"</b> 100% {to} + ?\nline'


def test_a_dict_becomes_json(provider: Any, send: Any, text_to: Any) -> None:
    body = {"recipients": [{"msisdn": "{to_digits}"}], "text": "{text}", "ref": "{id}", "flash": False, "n": 1}
    (receipt,) = send(text_to(text=TEXT, id="0f3c"), by="http", BODY=body, HEADERS={"X-Key": "canary"})
    assert (receipt.outcome, receipt.provider_id) == (Outcome.SENT, receipt.provider_id)
    assert receipt.provider_id.isdecimal()
    (request,) = provider.requests
    assert request["method"] == "POST"
    assert request["headers"]["content-type"] == "application/json"
    assert request["headers"]["x-key"] == "canary"
    assert json.loads(request["body"]) == {
        "recipients": [{"msisdn": "4915112345678"}],
        "text": TEXT,
        "ref": "0f3c",
        "flash": False,
        "n": 1,
    }


@pytest.mark.parametrize("body", [{"to": "{to}", "text": "{text}"}, "to={to}&text={text}"])
def test_a_form_is_escaped(body: Any, provider: Any, send: Any, text_to: Any) -> None:
    from urllib.parse import parse_qs

    send(text_to(text=TEXT), by="http", BODY=body, FORMAT="form")
    (request,) = provider.requests
    assert request["headers"]["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(request["body"]) == {"to": ["+4915112345678"], "text": [TEXT]}


def test_xml_is_escaped(provider: Any, send: Any, text_to: Any) -> None:
    body = '<sms to="{to}"><text>{text}</text></sms>'
    send(text_to(text=TEXT), by="http", BODY=body, FORMAT="xml")
    (request,) = provider.requests
    root = ElementTree.fromstring(request["body"])  # noqa: S314 (we made it)
    assert (root.get("to"), root.findtext("text")) == ("+4915112345678", TEXT)


def test_json_may_be_written_as_a_text(provider: Any, send: Any, text_to: Any) -> None:
    send(text_to(text=TEXT), by="http", BODY='{{"to": "{to}", "text": "{text}"}}')
    assert json.loads(provider.requests[0]["body"]) == {"to": "+4915112345678", "text": TEXT}


def test_everything_may_stand_in_the_address(provider: Any, send: Any, text_to: Any) -> None:
    from urllib.parse import parse_qs, urlsplit

    url = f"{provider.url}/plain?user=me&to={{to}}&text={{text}}&from={{from}}"
    (receipt,) = send(
        text_to(text=TEXT), by="http", METHOD="GET", URL=url, BODY=None, SUCCESS=None, MESSAGE_ID="",
        SUCCESS_PATTERN="^OK", MESSAGE_ID_PATTERN=r"id=(\w+)",
    )  # fmt: skip
    assert receipt.outcome is Outcome.SENT
    assert receipt.provider_id.isdecimal()
    (request,) = provider.requests
    assert request["method"] == "GET"
    assert parse_qs(urlsplit(request["target"]).query) == {
        "user": ["me"],
        "to": ["+4915112345678"],
        "text": [TEXT],
        "from": ["+4930901820"],
    }


@pytest.mark.parametrize(
    ("status", "errors", "outcome"),
    [
        (200, {}, Outcome.FAILED),
        (200, {"77": "address"}, Outcome.INVALID_ADDRESS),
        (200, {"77": "transient"}, Outcome.RETRY),
        (200, {"77": "configuration"}, Outcome.PAUSE),
        (200, {"77": "throttled"}, Outcome.PAUSE),
        (200, {"77": "unknown"}, Outcome.UNKNOWN),
        (400, {"77": "address"}, Outcome.INVALID_ADDRESS),
        (403, {"HTTP 403": "configuration"}, Outcome.PAUSE),
        (500, {}, Outcome.UNKNOWN),
        (500, {"HTTP 500": "transient"}, Outcome.RETRY),
    ],
)
def test_its_errors_mean_what_the_settings_say(
    status: int, errors: dict[str, str], outcome: Outcome, provider: Any, send: Any, text_to: Any
) -> None:
    provider.script(numbers={"+4915112345678": [status, "77", "no"]})
    (receipt,) = send(text_to(), by="http", ERRORS=errors)
    assert receipt.outcome is outcome
    assert "77" in receipt.reason


@pytest.mark.parametrize("wanted", ["accepted", ["queued", "Accepted"], ("accepted",)])
def test_success_is_a_value_or_one_of_several(wanted: Any, send: Any, text_to: Any) -> None:
    (receipt,) = send(text_to(), by="http", SUCCESS={"result.status": wanted})
    assert receipt.outcome is Outcome.SENT


def test_all_conditions_of_success_count(send: Any, text_to: Any) -> None:
    success = {"result.status": "accepted", "result.messages.0.id": "none"}
    (receipt,) = send(text_to(), by="http", SUCCESS=success)
    assert receipt.outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a", {"b": [1, {"c": 2}]}),
        ("a.b.1.c", 2),
        ("a.b.0", 1),
        ("a.b.5", None),
        ("a.b.x", None),
        ("a.b.-1", None),
        ("x.y", None),
        ("a.b.0.c", None),
    ],
)
def test_paths_lead_into_an_answer_and_never_fail(path: str, value: Any) -> None:
    assert follow({"a": {"b": [1, {"c": 2}]}}, path) == value


@pytest.mark.parametrize("forged", ["\r\nX-Evil: 1", "\nX-Evil: 1"])
def test_a_line_break_in_a_header_is_no_other_header(forged: str, provider: Any, send: Any, text_to: Any) -> None:
    (receipt,) = send(text_to(), by="http", HEADERS={"X-Key": f"a{forged}"})
    assert receipt.outcome is Outcome.PAUSE
    assert provider.requests == []
