"""Whatever comes to the callback view: 400 or 403, and never a server error, whose report would show secrets."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, unquote, urlencode

import jwt
import pytest
from django.core.cache import cache
from django.core.signals import got_request_exception
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from dsn_core.models import Delivery, Trigger
from dsn_sms import BaseProvider, addresses, sms_received, vonage_callbacks
from dsn_sms.exceptions import Forged

TOKEN = "canary-auth-token-0123456789"
SECRET = "canary-signature-secret-" + "0123456789" * 4
PATH = "/sms/sms/"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:sms"
NAMES = ["twilio", "vonage", "sns", "http", "console"]
MORE = {"vonage": {"SIGNATURE_SECRET": SECRET}, "sns": {"TOPICS": [TOPIC]}}

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("callbacks")]

FIELDS = [
    "sig", "a", "timestamp", "messageId", "status", "message_uuid", "MessageSid", "MessageStatus", "Type", "TopicArn",
    "Message", "Signature", "SigningCertURL", "SignatureVersion", "err-code", "text", "from", "msisdn", "error",
]  # fmt: skip
TEXTS = st.sampled_from(["", "x", "\ud800", "a\0b", "ä€", "x" * 70_000, "Notification", TOPIC, "delivered", "nan", "1"])
VALUES = st.recursive(
    TEXTS | st.none() | st.booleans() | st.integers() | st.just(10**4_000) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=3),
    max_leaves=5,
)
OBJECTS = st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6)
DEEP = b'{"Type": ' + b"[" * 900 + b"]" * 900 + b', "sig": "x"}'
BODIES = (
    st.binary(max_size=20)
    | OBJECTS.map(lambda said: json.dumps(said).encode())
    | OBJECTS.map(lambda said: urlencode({name: str(value) for name, value in said.items()}, errors="replace").encode())
    | st.sampled_from([b"[" * 100_000, DEEP, b"x=" + b"y" * 70_000, b"&".join([b"a=1"] * 1_500), b"x" * 3_000_000])
)
KINDS = st.sampled_from(
    ["application/json", "application/x-www-form-urlencoded", "text/plain", "", "multipart/form-data",
     "multipart/form-data; boundary=x", "application/x-www-form-urlencoded; charset=latin-1", "x/y; charset=utf-16"]
)  # fmt: skip
QUERIES = st.sampled_from(
    ["", "?message=x", "?message=%00", "?message=%ED%A0%80", "?bodySHA256=%C3%A9", "?message=" + "9" * 5_000, "?&=&a"]
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Authorization": st.sampled_from(
            ["Bearer x.y.z", "Bearer ä", "Basic", f"Bearer {'W1tb' * 9_000}.x.y", f"Bearer {'W1tb' * 1_500}.x.y"]
        ),
        "X-Twilio-Signature": st.sampled_from(["", "x", "ä", "\xff"]),
        "X-Twilio-Webhooks-Signature-Settings": st.sampled_from(["algorithm=HMAC_SHA256", "ä", "=,=", "algorithm=x"]),
        "Host": st.sampled_from(["testserver:99999", "testserver:", "testserver"]),
    },
)


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def account(settings: Any, options_for: Any) -> Callable[..., None]:
    def set_up(name: str, **more: Any) -> None:
        settings.DSN = {"MESSENGERS": {"sms": options_for(name, **MORE.get(name, {}) | more)}}

    return set_up


@pytest.fixture
def raised() -> Iterator[list[str]]:
    """The server errors that there were."""
    found: list[str] = []

    def note(sender: Any, **said: Any) -> None:
        found.append("a server error")

    got_request_exception.connect(note)
    yield found
    got_request_exception.disconnect(note)


@pytest.mark.parametrize("name", NAMES)
@given(BODIES, KINDS, QUERIES, HEADERS, st.sampled_from(["post", "post", "get"]))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_a_stranger_sends_is_refused(
    name: str, account: Any, caplog: Any, body: bytes, kind: str, query: str, headers: Any, method: str
) -> None:
    account(name)
    caplog.clear()
    client = Client(raise_request_exception=True)
    if method == "get":
        answer = client.get(f"{PATH}{query}", headers=headers)
    else:
        answer = client.generic("POST", f"{PATH}{query}", body, content_type=kind, headers=headers)
    assert answer.status_code in (400, 403)
    # Refused by the provider's own reader, not by the last resort of the view.
    assert "could not read" not in caplog.text
    assert SECRET not in caplog.text
    assert TOKEN not in caplog.text


def test_half_a_surrogate_pair_to_vonage_is_refused_and_shows_no_secret(account: Any, raised: Any, caplog: Any) -> None:
    account("vonage")
    answer = Client().post(PATH, b'{"sig": "x", "a": "\\ud800"}', content_type="application/json")
    assert (answer.status_code, raised) == (403, [])
    assert SECRET not in caplog.text


def test_a_hash_that_is_not_ascii_to_twilio_is_refused(account: Any, raised: Any) -> None:
    account("twilio")
    headers = {"X-Twilio-Signature": "x"}
    answer = Client().post(f"{PATH}?bodySHA256=%C3%A9", b"{}", content_type="application/json", headers=headers)
    assert (answer.status_code, raised) == (403, [])


def token_for(body: bytes, **claims: Any) -> str:
    said = {"iat": int(time.time()), "payload_hash": hashlib.sha256(body).hexdigest(), "api_key": "a1b2c3d4"}
    return jwt.encode(said | claims, SECRET, algorithm="HS256")


@pytest.mark.parametrize("claims", [{"iat": []}, {"iat": "soon"}, {"exp": {}}, {"payload_hash": [[]]}, {"api_key": []}])
def test_a_signed_token_with_claims_of_wrong_types_is_refused(claims: Any, account: Any) -> None:
    account("vonage")
    token = jwt.api_jws.PyJWS().encode(
        json.dumps({"iat": int(time.time()), "payload_hash": "", "api_key": "a1b2c3d4"} | claims).encode(), SECRET
    )
    headers = {"Authorization": f"Bearer {token}"}
    assert Client().post(PATH, b"{}", content_type="application/json", headers=headers).status_code == 403


@given(OBJECTS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_signed_and_makes_no_sense_breaks_nothing(account: Any, said: dict[str, Any]) -> None:
    """503: a report about a message that is not known (yet)."""
    account("vonage")
    body = json.dumps({"message_uuid": "u", **said}).encode()
    headers = {"Authorization": f"Bearer {token_for(body)}"}
    answer = Client().post(PATH, body, content_type="application/json", headers=headers)
    assert answer.status_code in (200, 400, 503)
    account("twilio")
    query = f"?bodySHA256={hashlib.sha256(body).hexdigest()}"
    signature = RequestValidator(TOKEN).compute_signature(f"http://testserver{PATH}{query}", {})
    headers = {"X-Twilio-Signature": signature}
    answer = Client().post(f"{PATH}{query}", body, content_type="application/json", headers=headers)
    assert answer.status_code in (204, 400, 503)


def test_a_message_with_halves_of_characters_reaches_receivers_whole(account: Any) -> None:
    heard: list[str] = []

    def hear(sender: Any, text: str, **said: Any) -> None:
        heard.append(text)

    account("vonage")
    body = b'{"message_uuid": "u", "channel": "sms", "from": "49151", "text": "a\\u0000b\\ud800 \\ud83c\\udfac"}'
    sms_received.connect(hear)
    try:
        headers = {"Authorization": f"Bearer {token_for(body)}"}
        assert Client().post(PATH, body, content_type="application/json", headers=headers).status_code == 200
    finally:
        sms_received.disconnect(hear)
    assert heard == ["ab\ufffd 🎬"]


def test_a_provider_of_another_package_that_fails_shows_no_secret(
    account: Any, raised: Any, caplog: Any, monkeypatch: Any
) -> None:
    account("console")

    def receive(self: BaseProvider, request: Any) -> Any:
        raise KeyError(request.body)

    monkeypatch.setattr("dsn_sms.providers.console.ConsoleProvider.receive", receive, raising=False)
    assert Client().post(PATH, b"x", content_type="text/plain").status_code == 400
    assert raised == []
    assert "The SMS provider console could not read" in caplog.text


# Whose message a report is about


@pytest.fixture
def other_delivery(dsn: Any, account: Any) -> Delivery:
    """A delivery of another messenger, which was sent."""
    account("vonage", PUBLIC_URL="https://www.example.org")
    Trigger.objects.define("sms_received").subscribe(
        addresses=[("memory", "ann@example.org")], backends=[("memory", "simple")]
    )
    sms_received.send(None, messenger="x", number="+49", text="", kind="", to="", message_id="1", raw={})
    dsn.run()
    return Delivery.objects.get()


def report(query: str = "", **more: Any) -> int:
    body = json.dumps({"message_uuid": "u-1", "status": "rejected"} | more).encode()
    headers = {"Authorization": f"Bearer {token_for(body)}"}
    return int(Client().post(f"{PATH}{query}", body, content_type="application/json", headers=headers).status_code)


def test_a_token_of_one_account_says_nothing_about_another_messenger(other_delivery: Delivery) -> None:
    message_id = other_delivery.message_id
    assert report(f"?message={message_id}") == 403
    # Not by a reference of this account, nor in the signed body.
    assert report(f"?message={quote(addresses.signed(message_id, 'sms'))}") == 200
    assert report(client_ref=message_id) == 200
    other_delivery.refresh_from_db()
    assert (other_delivery.status, other_delivery.report) == ("sent", "")


def test_the_address_that_vonage_gets_carries_a_signed_reference(provider: Any, send: Any, text_to: Any) -> None:
    send(text_to(id="delivery.1"), by="vonage", PUBLIC_URL="https://www.example.org")
    url = json.loads(provider.requests[0]["body"])["webhook_url"]
    base, _, reference = url.partition("?message=")
    assert base == f"https://www.example.org{PATH}"
    assert addresses.unsigned(unquote(reference), "sms") == "delivery.1"
    for alias, changed in (("other", unquote(reference)), ("sms", f"x{unquote(reference)}"), ("sms", "delivery.1")):
        with pytest.raises(Forged):
            addresses.unsigned(changed, alias)


def test_signatures_are_made_of_any_text() -> None:
    assert vonage_callbacks.signature({"a": "\ud800"}, SECRET, "sha256")
