"""Reports and incoming messages: whose signatures are believed, and what they do.

The signatures are made, or checked, by the providers' own libraries: twilio, vonage-jwt and vonage-http-client.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from django.core.cache import cache
from django.test import Client
from twilio.request_validator import RequestValidator

from dsn_core.models import Delivery, Trigger
from dsn_core.signals import delivery_reported
from dsn_sms import sms_received, twilio_callbacks, vonage_callbacks
from dsn_sms.inbound import kind_of

ACCOUNT = "AC0123456789abcdef0123456789abcdef"
TOKEN = "canary-auth-token-0123456789"
PATH = "/sms/sms/"
SITE = "http://testserver"

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("callbacks")]


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def account(settings: Any, options_for: Any) -> Callable[..., None]:
    """Set the account ``sms`` up."""

    def set_up(name: str, **more: Any) -> None:
        settings.DSN = {"MESSENGERS": {"sms": options_for(name, **more)}}

    return set_up


@pytest.fixture
def inbox() -> Iterator[list[dict[str, Any]]]:
    """What ``sms_received`` said."""
    heard: list[dict[str, Any]] = []

    def hear(sender: Any, signal: Any, **said: Any) -> None:
        heard.append(said)

    sms_received.connect(hear)
    yield heard
    sms_received.disconnect(hear)


@pytest.fixture
def delivery(dsn: Any, account: Any) -> Any:
    """A delivery that Twilio took."""
    account("twilio")
    trigger = Trigger.objects.define("sms_received")
    trigger.subscribe(addresses=[("sms", "+4915112345678")], backends=[("sms", "simple")])
    sms_received.send(None, messenger="x", number="+49", text="", kind="", to="", message_id="1", raw={})
    dsn.run()
    found = Delivery.objects.get()
    assert (found.status, found.provider_id[:2]) == ("sent", "SM")
    return found


def stored(delivery: Any) -> tuple[str, str, str]:
    delivery.refresh_from_db()
    return delivery.status, delivery.report, delivery.report_reason


# Twilio


def twilio_post(fields: dict[str, str], query: str = "", token: str = TOKEN, url: str = "", **headers: str) -> Any:
    """Post as Twilio does, signed by Twilio's library."""
    signature = RequestValidator(token).compute_signature(url or f"{SITE}{PATH}{query}", fields)
    return Client().post(
        f"{PATH}{query}",
        urlencode(fields),
        content_type="application/x-www-form-urlencoded",
        headers={"X-Twilio-Signature": signature, **headers},
    )


def status_of(delivery: Any, status: str, **more: str) -> dict[str, str]:
    return {"MessageSid": delivery.provider_id, "MessageStatus": status, "To": "+4915112345678", "From": "+493"} | more


def test_twilio_s_published_vector_is_verified() -> None:
    """The example of Twilio's documentation on security, with the signature that it prints."""
    from django.http import QueryDict

    form = QueryDict(mutable=True)
    form.update(
        {
            "CallSid": "CA1234567890ABCDE",
            "Caller": "+14158675309",
            "Digits": "1234",
            "From": "+14158675309",
            "To": "+18005551212",
        }
    )
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    assert twilio_callbacks.signature(url, form, "12345") == "RSOYDt4T1cUTdK1PDd93/VVr8B8="


def test_a_report_moves_a_delivery_forward_only(delivery: Any) -> None:
    query = f"?message={delivery.message_id}"
    assert twilio_post(status_of(delivery, "sent"), query).status_code == 204
    assert stored(delivery) == ("sent", "", "")
    assert twilio_post(status_of(delivery, "delivered"), query).status_code == 204
    assert stored(delivery) == ("sent", "delivered", "")
    # Late, out of order, or replayed: the first final word stays.
    for status in ("sent", "queued", "undelivered", "failed", "delivered"):
        assert twilio_post(status_of(delivery, status, ErrorCode="30003"), query).status_code == 204
    assert stored(delivery) == ("sent", "delivered", "")


def test_an_undelivered_message_keeps_the_provider_s_reason(delivery: Any) -> None:
    heard: list[str] = []

    def hear(sender: Any, signal: Any, **said: Any) -> None:
        heard.append(said["reason"])

    delivery_reported.connect(hear)
    try:
        for _ in range(2):
            twilio_post(status_of(delivery, "undelivered", ErrorCode="30005"), f"?message={delivery.message_id}")
    finally:
        delivery_reported.disconnect(hear)
    assert stored(delivery) == ("sent", "undelivered", "undelivered 30005")
    assert heard == ["undelivered 30005"]


def test_a_report_without_our_id_is_found_by_twilio_s(delivery: Any) -> None:
    assert twilio_post(status_of(delivery, "delivered")).status_code == 204
    assert stored(delivery)[1] == "delivered"


def test_a_report_that_is_faster_than_the_worker_is_to_come_again(account: Any) -> None:
    account("twilio")
    assert twilio_post({"MessageSid": "SM1", "MessageStatus": "delivered"}).status_code == 503


def test_a_report_about_a_purged_message_is_taken_and_forgotten(account: Any) -> None:
    account("twilio")
    query = "?message=01890a5d-ac96-774b-bcce-b302099a8057"
    assert twilio_post({"MessageSid": "SM1", "MessageStatus": "delivered"}, query).status_code == 204


@pytest.mark.parametrize("message_id", ["", "x", "%00", "1" * 500, "%C3%A9"])
def test_a_strange_message_id_breaks_nothing(message_id: str, account: Any) -> None:
    account("twilio")
    answer = twilio_post({"MessageSid": "SM1", "MessageStatus": "delivered"}, f"?message={message_id}")
    assert answer.status_code in (204, 503)


def test_forged_twilio_requests_are_refused(delivery: Any) -> None:
    fields, query = status_of(delivery, "delivered"), f"?message={delivery.message_id}"
    good = RequestValidator(TOKEN).compute_signature(f"{SITE}{PATH}{query}", fields)

    def post(path: str, fields: dict[str, str], signature: str | None) -> int:
        headers = {} if signature is None else {"X-Twilio-Signature": signature}
        kind = "application/x-www-form-urlencoded"
        return int(Client().post(path, urlencode(fields), content_type=kind, headers=headers).status_code)

    assert twilio_post(fields, query, token="another account's").status_code == 403
    assert post(f"{PATH}{query}", fields, None) == 403
    assert post(f"{PATH}{query}", fields, "") == 403
    assert post(f"{PATH}{query}", fields, "ä") == 403
    assert post(f"{PATH}{query}", fields | {"MessageStatus": "failed"}, good) == 403
    assert post(f"{PATH}{query}", fields | {"More": "1"}, good) == 403
    assert post(f"{PATH}{query}x", fields, good) == 403
    assert post(PATH, fields, good) == 403
    assert stored(delivery)[1] == ""
    assert post(f"{PATH}{query}", fields, good) == 204


def test_behind_a_proxy_the_public_address_is_the_signed_one(account: Any) -> None:
    account("twilio", PUBLIC_URL="https://www.example.org")
    fields = {"MessageSid": "SM1", "MessageStatus": "sent"}
    for url in ("https://www.example.org/sms/sms/", "https://www.example.org:443/sms/sms/"):
        assert twilio_post(fields, url=url).status_code == 204
    assert twilio_post(fields, url="http://testserver/sms/sms/").status_code == 403
    # What the request itself says of its host counts for nothing.
    assert twilio_post(fields, url="https://evil.example/sms/sms/", Host="evil.example").status_code in (400, 403)


def test_a_json_body_is_signed_by_its_hash(account: Any, inbox: Any) -> None:
    account("twilio")
    body = json.dumps({"MessageSid": "SM1", "SmsStatus": "received", "From": "+4915112345678", "Body": "Hi", "To": "1"})
    query = f"?bodySHA256={hashlib.sha256(body.encode()).hexdigest()}"
    signature = RequestValidator(TOKEN).compute_signature(f"{SITE}{PATH}{query}", {})
    assert RequestValidator(TOKEN).validate(f"{SITE}{PATH}{query}", body, signature)

    def post(body: str, query: str = query) -> int:
        headers = {"X-Twilio-Signature": signature}
        return int(Client().post(f"{PATH}{query}", body, content_type="application/json", headers=headers).status_code)

    assert post(body.replace("Hi", "Ho")) == 403
    assert post(body, "") == 403
    assert inbox == []
    assert post(body) == 204
    assert inbox[0]["text"] == "Hi"


def test_a_body_without_a_hash_in_the_address_is_not_believed(account: Any) -> None:
    """The address alone is signed: anything could stand in the body."""
    account("twilio")
    signature = RequestValidator(TOKEN).compute_signature(f"{SITE}{PATH}", {})
    answer = Client().post(PATH, "{}", content_type="application/json", headers={"X-Twilio-Signature": signature})
    assert answer.status_code == 403


def test_a_shared_key_signs_by_sha_256(account: Any) -> None:
    account("twilio", SHARED_KEY="shared-key-secret")
    fields = {"MessageSid": "SM1", "MessageStatus": "sent"}

    def post(key: str, settings: str, algorithm: str) -> int:
        signature = RequestValidator(key).compute_signature(f"{SITE}{PATH}", fields, algorithm)
        headers = {"X-Twilio-Signature": signature, "X-Twilio-Webhooks-Signature-Settings": settings}
        kind = "application/x-www-form-urlencoded"
        return int(Client().post(PATH, urlencode(fields), content_type=kind, headers=headers).status_code)

    assert post("shared-key-secret", "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256", "HMAC_SHA256") == 204
    assert post(TOKEN, "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256", "HMAC_SHA256") == 403
    assert post("shared-key-secret", "key=1,algorithm=HMAC_SHA1", "HMAC_SHA1") == 403
    assert post("shared-key-secret", "key=1,algorithm=HMAC_MD5", "HMAC_SHA256") == 403
    account("twilio")
    assert post("", "key=1,algorithm=HMAC_SHA256", "HMAC_SHA256") == 403


@pytest.mark.parametrize(
    ("url", "fields"),
    [
        ("https://example.org/sms/?a=1", {"A": "1", "b": "ä€", "": "x", "B": ""}),
        ("https://example.org:8443/sms/", {"Body": "a&b=c+d %20"}),
        ("http://example.org/sms/", {}),
        ("https://user@example.org/sms/?x=%C3%A4", {"Z": "1"}),
    ],
)
def test_signatures_are_those_of_twilio_s_library(url: str, fields: dict[str, str]) -> None:
    from django.http import QueryDict

    form = QueryDict(mutable=True)
    form.update(fields)
    for digest, algorithm in (("sha1", "HMAC_SHA1"), ("sha256", "HMAC_SHA256")):
        ours = twilio_callbacks.signature(url, form, TOKEN, digest)
        assert ours == RequestValidator(TOKEN).compute_signature(url, fields, algorithm)


def test_repeated_fields_are_signed_as_twilio_s_library_does() -> None:
    from django.http import QueryDict

    form = QueryDict("MediaUrl=b&MediaUrl=a&MediaUrl=a&Body=x")
    assert twilio_callbacks.signature(SITE, form, TOKEN) == RequestValidator(TOKEN).compute_signature(SITE, form)


# Incoming messages


def incoming(text: str, sid: str = "SM77", **more: str) -> dict[str, str]:
    return {"MessageSid": sid, "SmsStatus": "received", "From": "+4915112345678", "To": "+493", "Body": text} | more


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("STOP", "stop"),
        (" stop. ", "stop"),
        ("Stop all", "stop"),
        ("unsubscribe", "stop"),
        ("START", "start"),
        ("unstop", "start"),
        ("help!", "help"),
        ("Please don't stop", ""),
        ("stopp", ""),
        ("", ""),
        ("yes", ""),
    ],
)
def test_keywords_are_whole_messages(text: str, kind: str) -> None:
    assert kind_of(text) == kind


def test_an_incoming_message_becomes_a_signal_once(account: Any, inbox: Any) -> None:
    account("twilio")
    for _ in range(3):
        answer = twilio_post(incoming("STOP"))
        assert (answer.status_code, answer.content) == (204, b"")
    (said,) = inbox
    assert {name: said[name] for name in ("messenger", "number", "text", "kind", "to", "message_id")} == {
        "messenger": "sms",
        "number": "+4915112345678",
        "text": "STOP",
        "kind": "stop",
        "to": "+493",
        "message_id": "SM77",
    }
    assert said["raw"]["SmsStatus"] == "received"


def test_what_twilio_recognised_itself_counts(account: Any, inbox: Any) -> None:
    account("twilio")
    twilio_post(incoming("Arrêt", OptOutType="STOP"))
    twilio_post(incoming("hello", "SM78"))
    assert [said["kind"] for said in inbox] == ["stop", ""]


@pytest.mark.parametrize(
    ("given", "number"),
    [("+49 151 12345678", "+4915112345678"), ("12345", "12345"), ("CINEMA", "CINEMA"), ("+1", "+1")],
)
def test_the_sender_is_a_number_in_e164_or_what_it_is(given: str, number: str, account: Any, inbox: Any) -> None:
    account("twilio")
    twilio_post(incoming("hello", From=given))
    assert [said["number"] for said in inbox] == [number]


def test_a_receiver_that_fails_hears_it_again(account: Any, inbox: Any) -> None:
    account("twilio")
    troubles = [RuntimeError("the database is away")]

    def fail(sender: Any, **said: Any) -> None:
        if troubles:
            raise troubles.pop()

    sms_received.connect(fail)
    try:
        assert twilio_post(incoming("STOP")).status_code == 503
        assert twilio_post(incoming("STOP")).status_code == 204
        assert twilio_post(incoming("STOP")).status_code == 204
    finally:
        sms_received.disconnect(fail)
    assert len(inbox) == 2


def test_a_forged_message_reaches_nobody(account: Any, inbox: Any) -> None:
    account("twilio")
    assert twilio_post(incoming("STOP"), token="wrong").status_code == 403
    assert inbox == []


def test_a_message_can_trigger_messages(dsn: Any, account: Any) -> None:
    account("twilio")
    stops = Trigger.objects.define("sms_received", target="stop")
    stops.subscribe(addresses=[("memory", "desk@example.org")], backends=[("memory", "simple")])
    twilio_post(incoming("STOP"))
    twilio_post(incoming("hello", "SM78"))
    dsn.run()
    assert [message.address for message in dsn.sent] == ["desk@example.org"]


# Vonage


SECRET = "canary-signature-secret-" + "0123456789" * 4


def vonage_token(body: bytes, *, secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    said = {
        "iat": int(time.time()),
        "jti": "c5ba8f24-1a14-4c10-bfdf-3fbe8ce511b5",
        "iss": "Vonage",
        "payload_hash": hashlib.sha256(body).hexdigest(),
        "api_key": "a1b2c3d4",
    }
    said = {name: value for name, value in (said | claims).items() if value is not None}
    return jwt.encode(said, secret if algorithm != "none" else None, algorithm=algorithm)


def vonage_post(said: dict[str, Any], token: str | None = None, query: str = "") -> int:
    body = json.dumps(said).encode()
    headers = {"Authorization": f"Bearer {token or vonage_token(body)}"}
    answer = Client().post(f"{PATH}{query}", body, content_type="application/json", headers=headers)
    return int(answer.status_code)


def vonage_status(delivery: Any, status: str, **more: Any) -> dict[str, Any]:
    return {
        "message_uuid": delivery.provider_id,
        "to": "4915112345678",
        "from": "4930901820",
        "timestamp": "2026-11-25T20:00:00.000Z",
        "status": status,
        "client_ref": str(delivery.message_id),
        "channel": "sms",
    } | more


def test_a_status_of_vonage_is_recorded(delivery: Any, account: Any) -> None:
    account("vonage", SIGNATURE_SECRET=SECRET)
    assert vonage_post(vonage_status(delivery, "submitted")) == 200
    assert stored(delivery)[1] == ""
    error = {"type": "...#1260", "title": "1260", "detail": "Destination unreachable"}
    assert vonage_post(vonage_status(delivery, "rejected", error=error)) == 200
    assert stored(delivery)[1:] == ("undelivered", "rejected: 1260 Destination unreachable")
    assert vonage_post(vonage_status(delivery, "delivered")) == 200
    assert stored(delivery)[1] == "undelivered"


def test_an_incoming_message_of_vonage_becomes_a_signal(account: Any, inbox: Any) -> None:
    account("vonage", SIGNATURE_SECRET=SECRET)
    said = {"channel": "sms", "message_uuid": "u-1", "to": "4930901820", "from": "4915112345678", "text": "Stop"}
    assert [vonage_post(said) for _ in range(2)] == [200, 200]
    assert [(item["number"], item["kind"], item["text"]) for item in inbox] == [("+4915112345678", "stop", "Stop")]


def test_tokens_of_vonage_are_verified_as_vonage_s_library_does(account: Any) -> None:
    from vonage_jwt import verify_signature

    account("vonage", SIGNATURE_SECRET=SECRET)
    said = {"channel": "viber_service", "message_uuid": "u"}
    body = json.dumps(said).encode()
    for token in (vonage_token(body), vonage_token(body, secret="another-secret-of-some-length-012345")):
        assert (vonage_post(said, token) == 200) is verify_signature(token, SECRET)


@pytest.mark.parametrize(
    "claims",
    [
        {"secret": "another-secret-of-some-length-012345"},
        {"algorithm": "none"},
        {"algorithm": "HS512"},
        {"payload_hash": None},
        {"payload_hash": "0" * 64},
        {"api_key": "somebody"},
        {"iat": None},
        {"iat": 1_600_000_000},
        {"iat": 4_000_000_000},
        {"exp": 1_600_000_000},
    ],
    ids=repr,
)
def test_forged_stale_and_tampered_tokens_are_refused(claims: dict[str, Any], delivery: Any, account: Any) -> None:
    account("vonage", SIGNATURE_SECRET=SECRET)
    said = vonage_status(delivery, "delivered")
    with_claims = vonage_token(json.dumps(said).encode(), **claims)
    assert vonage_post(said, with_claims) == 403
    assert stored(delivery)[1] == ""


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer x.y.z", "Basic abc", "Bearer ä"])
def test_a_header_that_is_no_token_is_refused(header: str, account: Any) -> None:
    account("vonage", SIGNATURE_SECRET=SECRET)
    answer = Client().post(PATH, b"{}", content_type="application/json", headers={"Authorization": header})
    assert answer.status_code == 403


def test_without_a_signature_secret_nothing_is_believed(account: Any) -> None:
    account("vonage")
    assert vonage_post({"channel": "sms", "message_uuid": "u"}) == 403


def sms_api(fields: dict[str, Any], method: str = "sha256", secret: str = SECRET, **later: Any) -> int:
    """Post as the older SMS API does, signed by Vonage's library."""
    from vonage_http_client.auth import Auth

    signed = {"timestamp": str(int(time.time())), "nonce": "n"} | fields
    auth = Auth(api_key="a1b2c3d4", signature_secret=secret, signature_method=method)  # type: ignore[arg-type]
    signed["sig"] = auth.sign_params(dict(signed))
    return int(Client().post(PATH, signed | later).status_code)


@pytest.mark.parametrize("method", ["md5", "sha1", "sha256", "sha512"])
def test_signatures_of_the_sms_api_are_those_of_vonage_s_library(method: str, account: Any, inbox: Any) -> None:
    account("vonage", SIGNATURE_SECRET=SECRET, SIGNATURE_METHOD=method)
    fields = {"msisdn": "4915112345678", "to": "493", "messageId": f"m-{method}", "text": "a&b=c ä€", "type": "unicode"}
    assert sms_api(fields, method) == 200
    assert [said["text"] for said in inbox] == ["a&b=c ä€"]
    assert "sig" not in inbox[0]["raw"]


def test_forged_and_stale_requests_of_the_sms_api_are_refused(delivery: Any, account: Any) -> None:
    account("vonage", SIGNATURE_SECRET=SECRET)
    receipt = {"messageId": delivery.provider_id, "status": "delivered", "err-code": "0", "msisdn": "49"}
    assert sms_api(receipt, secret="another") == 403
    assert sms_api(receipt, method="sha512") == 403
    assert sms_api(receipt, status="failed") == 403
    assert sms_api(receipt, sig="") == 403
    assert sms_api(receipt | {"timestamp": "1600000000"}) == 403
    assert sms_api(receipt | {"timestamp": "soon"}) == 403
    assert stored(delivery)[1] == ""
    assert sms_api(receipt) == 200
    assert stored(delivery)[1] == "delivered"


def test_a_refusal_of_the_sms_api_names_its_code(delivery: Any, account: Any) -> None:
    account("vonage", SIGNATURE_SECRET=SECRET)
    sms_api({"messageId": delivery.provider_id, "status": "failed", "err-code": "6", "msisdn": "49"})
    assert stored(delivery)[1:] == ("undelivered", "failed: err-code 6")


def test_what_is_signed_is_compared_in_constant_time() -> None:
    """Which the code says by the function that it uses; here, that wrong ones of any length are wrong."""
    fields = {"a": "1", "timestamp": str(int(time.time()))}
    good = vonage_callbacks.signature(fields, SECRET, "sha256")
    for wrong in (good[:-1], good + "0", good.swapcase() + "ä", "0" * len(good)):
        with pytest.raises(vonage_callbacks.Forged):
            vonage_callbacks.verify_parameters(fields | {"sig": wrong}, SECRET, "sha256")
    vonage_callbacks.verify_parameters(fields | {"sig": good.upper()}, SECRET, "sha256")


# The view


@pytest.mark.parametrize("alias", ["sms", "nobody", "email"])
def test_an_account_that_is_not_set_up_is_not_found(alias: str, settings: Any) -> None:
    settings.DSN = {"MESSENGERS": {"email": {}}}
    assert Client().post(f"/sms/{alias}/").status_code == 404


def test_a_second_account_has_an_address_of_its_own(settings: Any, options_for: Any, inbox: Any) -> None:
    settings.DSN = {
        "MESSENGERS": {
            "sms": options_for("console"),
            "us": {"MESSENGER": "sms", **options_for("twilio", AUTH_TOKEN="other")},
        }
    }
    fields = incoming("hello")
    signature = RequestValidator("other").compute_signature(f"{SITE}/sms/us/", fields)
    for path, status in (("/sms/us/", 204), ("/sms/sms/", 403)):
        answer = Client().post(path, fields, headers={"X-Twilio-Signature": signature})
        assert answer.status_code in (status, 403)
    kind = "application/x-www-form-urlencoded"
    answer = Client().post("/sms/us/", urlencode(fields), content_type=kind, headers={"X-Twilio-Signature": signature})
    assert answer.status_code == 204
    assert [said["messenger"] for said in inbox] == ["us"]


def test_a_provider_needs_no_csrf_token(account: Any) -> None:
    account("twilio")
    fields = {"MessageSid": "SM1", "MessageStatus": "sent"}
    signature = RequestValidator(TOKEN).compute_signature(f"{SITE}{PATH}", fields)
    strict = Client(enforce_csrf_checks=True)
    kind = "application/x-www-form-urlencoded"
    answer = strict.post(PATH, urlencode(fields), content_type=kind, headers={"X-Twilio-Signature": signature})
    assert answer.status_code == 204


@pytest.mark.parametrize("method", ["put", "delete", "patch"])
def test_other_methods_are_not_allowed(method: str, account: Any) -> None:
    account("twilio")
    assert getattr(Client(), method)(PATH).status_code == 405


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 10_000])
@pytest.mark.parametrize("name", ["twilio", "vonage", "sns", "http", "console"])
def test_nonsense_is_refused_and_breaks_nothing(name: str, body: bytes, account: Any) -> None:
    account(name)
    for kind in ("application/json", "application/x-www-form-urlencoded", "text/plain"):
        assert Client().post(PATH, body, content_type=kind).status_code in (400, 403)
