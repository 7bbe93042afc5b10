"""What a topic of Amazon SNS sends: believed when SNS signed it. The certificate is the tests' own, and fetched.

Each signature is verified by another library as well: django-ses, which hears SES's notifications over SNS.
"""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from django.core.cache import cache
from django.test import Client

from dsn_core.models import Delivery, Trigger
from dsn_sms import Forged, sms_received, sns_callbacks

TOPIC = "arn:aws:sns:eu-west-1:123456789012:sms"
PATH = "/sms/sms/"

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("callbacks")]


def key_of() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


#: Made once: they take a while.
KEY, CA_KEY, OTHER_KEY = key_of(), key_of(), key_of()


def certify(
    name: str, key: rsa.RSAPrivateKey, issuer: str, issuer_key: rsa.RSAPrivateKey, *, days: tuple[int, int] = (-1, 1)
) -> str:
    """A certificate in PEM. ``days``: from when until when it is valid, from today."""

    def called(common: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])

    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(called(name))
        .issuer_name(called(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
        .sign(issuer_key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


LEAF = certify("sns.amazonaws.com", KEY, "Test CA", CA_KEY)
CA = certify("Test CA", CA_KEY, "Test CA", CA_KEY, days=(-10, 10))


@pytest.fixture(autouse=True)
def _nothing_is_remembered() -> Iterator[None]:
    cache.clear()
    sns_callbacks._fetch.cache_clear()
    yield
    cache.clear()
    sns_callbacks._fetch.cache_clear()


@pytest.fixture
def account(settings: Any, options_for: Any, provider: Any) -> Callable[..., None]:
    def set_up(**more: Any) -> None:
        settings.DSN = {"MESSENGERS": {"sms": options_for("sns", TOPICS=[TOPIC], **more)}}

    provider.files(cert=LEAF, chain=LEAF + CA)
    set_up()
    return set_up


@pytest.fixture
def signed(provider: Any) -> Callable[..., dict[str, Any]]:
    """A notification as SNS makes it, signed with the certificate's key."""

    def make(message: Any = "{}", *, key: rsa.RSAPrivateKey = KEY, version: str = "1", **more: Any) -> dict[str, Any]:
        now = datetime.datetime.now(datetime.UTC)
        said = {
            "Type": "Notification",
            "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
            "TopicArn": TOPIC,
            "Message": message if isinstance(message, str) else json.dumps(message),
            "Timestamp": f"{now:%Y-%m-%dT%H:%M:%S}.000Z",
            "SignatureVersion": version,
            "SigningCertURL": f"{provider.url}/cert.pem",
        }
        said |= more
        said = {name: value for name, value in said.items() if value is not None}
        algorithm = hashes.SHA1() if version == "1" else hashes.SHA256()  # noqa: S303
        signature = key.sign(sns_callbacks.string_to_sign(said), padding.PKCS1v15(), algorithm)
        return said | {"Signature": base64.b64encode(signature).decode()}

    return make


def post(said: dict[str, Any]) -> int:
    kind = "text/plain; charset=UTF-8"
    answer = Client().post(PATH, json.dumps(said), content_type=kind, headers={"x-amz-sns-message-type": said["Type"]})
    return int(answer.status_code)


INCOMING = {
    "originationNumber": "+4915112345678",
    "destinationNumber": "+12125550101",
    "messageKeyword": "JOIN",
    "messageBody": "STOP",
    "inboundMessageId": "cae173d2-66b9-564c-8309-21f858e9fb84",
    "previousPublishedMessageId": "1",
}


@pytest.fixture
def inbox() -> Iterator[list[dict[str, Any]]]:
    heard: list[dict[str, Any]] = []

    def hear(sender: Any, signal: Any, **said: Any) -> None:
        heard.append(said)

    sms_received.connect(hear)
    yield heard
    sms_received.disconnect(hear)


@pytest.fixture
def delivery(dsn: Any, account: Any) -> Any:
    """A delivery that SNS took."""
    Trigger.objects.define("sms_received").subscribe(
        addresses=[("sms", "+4915112345678")], backends=[("sms", "simple")]
    )
    sms_received.send(None, messenger="x", number="+49", text="", kind="", to="", message_id="1", raw={})
    dsn.run()
    found = Delivery.objects.get()
    assert found.status == "sent"
    return found


def report_of(delivery: Any) -> tuple[str, str]:
    delivery.refresh_from_db()
    return delivery.report, delivery.report_reason


# Signatures


@pytest.mark.parametrize("more", [{}, {"Subject": "a subject"}, {"Message": "ä\nb"}, {"Type": "UnsubscribeConfirmation",
                                  "Token": "t", "SubscribeURL": "https://sns.eu-west-1.amazonaws.com/?x"}])  # fmt: skip
def test_signatures_are_those_that_another_library_verifies(
    more: dict[str, Any], signed: Any, monkeypatch: pytest.MonkeyPatch, account: Any, options_for: Any
) -> None:
    from django_ses.utils import EventMessageVerifier

    from dsn_sms import SMSOptions

    certificate = x509.load_pem_x509_certificate(LEAF.encode())
    monkeypatch.setattr(EventMessageVerifier, "certificate", certificate)
    options: Any = SMSOptions.from_mapping(options_for("sns", TOPICS=[TOPIC]))
    good = signed(**more)
    assert EventMessageVerifier(good).is_verified()
    sns_callbacks.verify(good, options)
    forged = good | {"Message": "another"}
    assert not EventMessageVerifier(forged).is_verified()
    with pytest.raises(Forged):
        sns_callbacks.verify(forged, options)
    assert EventMessageVerifier(good)._get_bytes_to_sign() == sns_callbacks.string_to_sign(good)


def test_the_string_to_sign_is_that_of_the_documentation() -> None:
    """The example of "Verifying the signatures of Amazon SNS messages"."""
    said = {
        "Type": "Notification",
        "MessageId": "4d4dc071-ddbf-465d-bba8-08f81c89da64",
        "TopicArn": "arn:aws:sns:us-east-2:123456789012:s4-MySNSTopic-1G1WEFCOXTC0P",
        "Subject": "My subject",
        "Message": "My Test Message",
        "Timestamp": "2019-01-31T04:37:04.321Z",
        "SignatureVersion": "1",
    }
    assert sns_callbacks.string_to_sign(said).decode() == (
        "Message\nMy Test Message\nMessageId\n4d4dc071-ddbf-465d-bba8-08f81c89da64\nSubject\nMy subject\n"
        "Timestamp\n2019-01-31T04:37:04.321Z\nTopicArn\n"
        "arn:aws:sns:us-east-2:123456789012:s4-MySNSTopic-1G1WEFCOXTC0P\nType\nNotification\n"
    )


@pytest.mark.parametrize("version", ["1", "2"])
def test_an_incoming_message_becomes_a_signal_once(version: str, account: Any, signed: Any, inbox: Any) -> None:
    for _ in range(2):
        assert post(signed(INCOMING, version=version)) == 200
    (said,) = inbox
    assert (said["number"], said["kind"], said["to"]) == ("+4915112345678", "stop", "+12125550101")


def test_what_sns_did_not_sign_is_refused(account: Any, signed: Any, inbox: Any, provider: Any) -> None:
    good = signed(INCOMING)
    old = f"{datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=3):%Y-%m-%dT%H:%M:%S}.000Z"
    another = "arn:aws:sns:eu-west-1:999999999999:sms"
    for forged in (
        good | {"Message": json.dumps(INCOMING | {"messageBody": "START"})},
        good | {"Timestamp": "2035-01-01T00:00:00.000Z"},
        good | {"Signature": ""},
        good | {"Signature": "not base64!"},
        good | {"SignatureVersion": "2"},
        good | {"SignatureVersion": "3"},
        signed(INCOMING, key=OTHER_KEY),
        # Anybody can have a topic, and SNS signs for it as well.
        signed(INCOMING, TopicArn=another),
        signed(INCOMING, Timestamp=old),
        signed(INCOMING, Timestamp="yesterday"),
    ):
        assert post(forged) == 403, forged
    assert inbox == []
    assert post(good) == 200


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/cert.pem",
        "https://sns.eu-west-1.amazonaws.com.evil.example/cert.pem",
        "https://sns.us-east-1.amazonaws.com/cert.pem",  # another region than the topic's
        "http://sns.eu-west-1.amazonaws.com/cert.pem",
        "https://sns.eu-west-1.amazonaws.com:8443/cert.pem",
        "https://user@sns.eu-west-1.amazonaws.com/cert.pem",
        "https://evil.example\\@sns.eu-west-1.amazonaws.com/cert.pem",
        "https://sns.eu-west-1.amazonaws.com/?Action=Something",
        "https://s3.amazonaws.com/bucket/cert.pem",
        "file:///etc/cert.pem",
        "https://[::1/cert.pem",
        "",
    ],
)
def test_certificates_come_from_the_topic_s_own_region_of_sns(url: str, account: Any, signed: Any) -> None:
    assert post(signed(INCOMING, SigningCertURL=url)) == 403


def test_only_real_addresses_of_sns_are_its_own() -> None:
    for url, topic, own in (
        ("https://sns.eu-west-1.amazonaws.com/x.pem", TOPIC, True),
        ("https://sns.eu-west-1.amazonaws.com:443/x.pem", TOPIC, True),
        ("https://sns.cn-north-1.amazonaws.com.cn/x.pem", "arn:aws-cn:sns:cn-north-1:123456789012:sms", True),
        ("https://sns.us-gov-west-1.amazonaws.com/x.pem", "arn:aws-us-gov:sns:us-gov-west-1:123456789012:sms", True),
        ("https://sns.eu-west-1.amazonaws.com/x.pem", "sms", False),
    ):
        assert sns_callbacks.is_of_sns(url, topic, "") is own, url


@pytest.mark.parametrize(
    ("pem", "status"),
    [
        (LEAF + CA, 200),
        (LEAF + certify("Test CA", OTHER_KEY, "Test CA", OTHER_KEY), 403),
        (certify("evil.example", KEY, "Test CA", CA_KEY), 403),
        (certify("sns.amazonaws.com.evil.example", KEY, "Test CA", CA_KEY), 403),
        (certify("sns.amazonaws.com", KEY, "Test CA", CA_KEY, days=(-3, -1)), 403),
        (certify("sns.amazonaws.com", KEY, "Test CA", CA_KEY, days=(1, 3)), 403),
        (certify("sns.eu-west-1.amazonaws.com", KEY, "Test CA", CA_KEY), 200),
        ("no certificate", 403),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", 403),
    ],
    ids=["chain", "broken chain", "another's", "a namesake's", "expired", "of tomorrow", "a region's", "none", "junk"],
)
def test_the_certificate_is_sns_s_valid_now_and_its_chain_whole(
    pem: str, status: int, account: Any, signed: Any, provider: Any
) -> None:
    provider.files(cert=pem)
    assert post(signed(INCOMING)) == status


def test_a_certificate_is_fetched_once(account: Any, signed: Any, provider: Any) -> None:
    assert post(signed(INCOMING)) == 200
    provider.files()
    assert post(signed(INCOMING)) == 200


def test_when_the_certificate_cannot_be_had_sns_is_to_come_again(
    account: Any, signed: Any, provider: Any, inbox: Any
) -> None:
    provider.files()
    provider.script(mode="status", status=500, body="")
    assert post(signed(INCOMING)) == 503
    provider.files(cert=LEAF)
    assert post(signed(INCOMING)) == 200
    assert len(inbox) == 1


# Subscriptions


def subscription(url: str) -> dict[str, Any]:
    return {"Type": "SubscriptionConfirmation", "Token": "canary-token", "SubscribeURL": url}


def test_a_subscription_to_our_topic_is_confirmed(account: Any, signed: Any, provider: Any, caplog: Any) -> None:
    caplog.set_level("DEBUG")
    url = f"{provider.url}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=canary-token"
    assert post(signed(**subscription(url))) == 200
    assert [request["target"] for request in provider.requests] == [url.removeprefix(provider.url)]
    assert "canary-token" not in caplog.text
    assert f"The subscription to {TOPIC} is confirmed" in caplog.text


def test_no_other_subscription_is_and_nothing_else_is_visited(account: Any, signed: Any, provider: Any) -> None:
    elsewhere = "http://169.254.169.254/latest/meta-data"
    ours = f"{provider.url}/?Action=ConfirmSubscription&Token=t"
    another = "arn:aws:sns:eu-west-1:999999999999:sms"
    assert post(signed(**subscription(elsewhere))) == 403
    assert post(signed(**subscription(ours), TopicArn=another)) == 403
    assert post(signed(**subscription(ours)) | {"SubscribeURL": f"{ours}2"}) == 403
    assert provider.requests == []


def test_a_subscription_that_sns_does_not_confirm_comes_again(account: Any, signed: Any, provider: Any) -> None:
    url = f"{provider.url}/?Action=ConfirmSubscription"
    post(signed(INCOMING))
    provider.script(mode="status", status=500, body="")
    assert post(signed(**subscription(url))) == 503


# Reports


@pytest.mark.parametrize(
    ("event", "report", "reason"),
    [
        ({"eventType": "TEXT_DELIVERED", "messageStatus": "DELIVERED"}, "delivered", ""),
        ({"eventType": "TEXT_SUCCESSFUL", "messageStatusDescription": "accepted"}, "delivered", ""),
        ({"eventType": "TEXT_PENDING"}, "", ""),
        ({"eventType": "TEXT_QUEUED"}, "", ""),
        (
            {"eventType": "TEXT_BLOCKED", "messageStatusDescription": "Phone blocks messages"},
            "undelivered",
            "Phone blocks messages",
        ),
        ({"eventType": "TEXT_TTL_EXPIRED", "messageStatus": "TTL_EXPIRED"}, "undelivered", "TTL_EXPIRED"),
        ({"eventType": "VOICE_COMPLETED"}, "", ""),
    ],
)
def test_events_of_end_user_messaging_are_recorded(
    event: dict[str, str], report: str, reason: str, delivery: Any, signed: Any
) -> None:
    event = event | {"messageId": delivery.provider_id}
    assert post(signed(event)) == 200
    assert report_of(delivery) == (report, reason)
    # The same, as EventBridge wraps it, is nothing new.
    assert post(signed({"detail-type": "Text Message Delivery Status Updated", "detail": event})) == 200
    assert report_of(delivery) == (report, reason)


def test_lines_of_sns_s_delivery_log_are_recorded(delivery: Any, signed: Any) -> None:
    line = {
        "notification": {"messageId": delivery.provider_id, "timestamp": "2016-06-28 00:40:34.559"},
        "delivery": {"destination": "+49", "providerResponse": "Unknown error attempting to reach phone"},
        "status": "FAILURE",
    }
    assert post(signed(line)) == 200
    assert report_of(delivery) == ("undelivered", "Unknown error attempting to reach phone")
    assert post(signed(line | {"status": "SUCCESS"})) == 200
    assert report_of(delivery)[0] == "undelivered"


def test_a_report_about_an_unknown_message_is_to_come_again(account: Any, signed: Any) -> None:
    assert post(signed({"eventType": "TEXT_DELIVERED", "messageId": "not-yet"})) == 503


@pytest.mark.parametrize(
    "message", ["plain words", "[1, 2]", '{"a": 1}', "[" * 10_000, '{"eventType": "TEXT_DELIVERED"}']
)
def test_other_messages_of_the_topic_break_nothing(message: str, account: Any, signed: Any) -> None:
    assert post(signed(message)) in (200, 400)
