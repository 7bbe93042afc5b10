"""Verifies and reads what Amazon SNS posts for a topic: subscriptions, reports, incoming messages."""

from __future__ import annotations

import base64
import binascii
import datetime
import functools
import itertools
import json
import logging
import re
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from dsn_core.kit import http
from dsn_sms.callbacks import id_of, json_object, text_of
from dsn_sms.exceptions import Forged, NoAnswer, Unreadable
from dsn_sms.providers.base import Inbound, Report

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from dsn_sms.providers.sns import SNSOptions

logger = logging.getLogger("dsn_sms")

#: Seconds after which a notification is no longer believed. SNS tries for an hour, with the same timestamp.
MAX_AGE: Final = 2 * 3_600.0
#: Seconds that a certificate is kept.
_CERTIFICATE_AGE: Final = 3_600
ARN: Final = re.compile(r"arn:(?P<partition>aws[a-z-]*):sns:(?P<region>[a-z0-9-]+):\d{12}:[\w-]+(\.fifo)?")

#: What is signed, in this order; what is missing is left out.
_NOTIFICATION: Final = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_SUBSCRIPTION: Final = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_SIGNED: Final = {
    "Notification": _NOTIFICATION,
    "SubscriptionConfirmation": _SUBSCRIPTION,
    "UnsubscribeConfirmation": _SUBSCRIPTION,
}
_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
#: The names that certificates of SNS carry.
_NAMES: Final = re.compile(r"sns(\.[a-z0-9-]+)?\.amazonaws\.com(\.cn)?")

#: The statuses of AWS End User Messaging that nothing follows, and those of them that mean delivery.
_EVENTS: Final[Mapping[str, bool]] = {
    "TEXT_DELIVERED": True,
    "TEXT_SUCCESSFUL": True,
    **dict.fromkeys(
        ("TEXT_BLOCKED", "TEXT_CARRIER_BLOCKED", "TEXT_CARRIER_UNREACHABLE", "TEXT_INVALID", "TEXT_INVALID_MESSAGE",
         "TEXT_PROTECT_BLOCKED", "TEXT_SPAM", "TEXT_TTL_EXPIRED", "TEXT_UNREACHABLE"),
        False,
    ),
}  # fmt: skip


def read(request: HttpRequest, options: SNSOptions) -> Iterator[Report | Inbound]:
    """What a signed request says; a subscription to one of ``TOPICS`` is confirmed.

    Raises :class:`Forged`, :class:`Unreadable`, or when SNS does not answer what :func:`dsn_core.kit.http.exchange`
    raises.
    """
    said = json_object(request)
    verify(said, options)
    if said["Type"] == "SubscriptionConfirmation":
        confirm(said, options)
    elif said["Type"] == "Notification":
        try:
            message = json.loads(text_of(said.get("Message")))
        except (ValueError, RecursionError):
            raise Unreadable("Its message is no JSON, so none of ours.") from None
        yield from understand(message, text_of(said.get("MessageId")))


def verify(said: Mapping[str, Any], options: SNSOptions) -> None:
    """Raise :class:`Forged` unless SNS signed this, for one of our topics, and not long ago."""
    kind, topic = said.get("Type"), said.get("TopicArn")
    if not isinstance(kind, str) or kind not in _SIGNED:
        raise Unreadable(f"It is of the type {text_of(kind)[:40]!r}.")
    if not isinstance(topic, str) or topic not in options.TOPICS:
        raise Forged(f"It is about {text_of(topic)[:200]!r}, which the option TOPICS does not list.")
    certificate = _certificate(text_of(said.get("SigningCertURL")), topic, options)
    hashes = {"1": "SHA1", "2": "SHA256"}
    version = text_of(said.get("SignatureVersion"))
    if version not in hashes:
        raise Forged(f"Its signature is of the version {version[:10]!r}.")
    try:
        signed = base64.b64decode(text_of(said.get("Signature")), validate=True)
    except (ValueError, binascii.Error):
        raise Forged("Its signature is no base64.") from None
    _check_signature(certificate, signed, string_to_sign(said), hashes[version])
    try:
        moment = parse_datetime(text_of(said.get("Timestamp")))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or abs((timezone.now() - moment).total_seconds()) > MAX_AGE:
        raise Forged("It was signed too long ago.")


def string_to_sign(said: Mapping[str, Any]) -> bytes:
    """The names and values that a signature covers, each on a line of its own."""
    fields = [(name, said[name]) for name in _SIGNED[said["Type"]] if said.get(name) is not None]
    if not all(isinstance(value, str) for _, value in fields):
        raise Unreadable("What is signed of it are no texts.")
    return "".join(f"{name}\n{value}\n" for name, value in fields).encode("utf-8", "replace")


def _check_signature(certificate: Certificate, signed: bytes, text: bytes, hash_name: str) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise Forged("The certificate's key is of no kind that SNS uses.")
    algorithm = hashes.SHA1() if hash_name == "SHA1" else hashes.SHA256()  # noqa: S303 - SNS's version 1
    try:
        key.verify(signed, text, padding.PKCS1v15(), algorithm)
    except InvalidSignature:
        raise Forged("The signature is wrong.") from None


def confirm(said: Mapping[str, Any], options: SNSOptions) -> None:
    """Visit the address that confirms the subscription. It is one of SNS, or nothing is visited."""
    url, topic = text_of(said.get("SubscribeURL")), str(said["TopicArn"])
    if not is_of_sns(url, topic, options.API_BASE):
        raise Forged("Its SubscribeURL is not of SNS.")
    answer = _get(url, options.TIMEOUT)
    if not answer.is_success:
        raise NoAnswer(f"The subscription to {topic} could not be confirmed: HTTP {answer.status}.")
    logger.info("The subscription to %s is confirmed.", topic)


def understand(message: Any, notification_id: str) -> Iterator[Report | Inbound]:
    """What a message says: an incoming SMS, an event of AWS End User Messaging, or a line of SNS's delivery log."""
    if not isinstance(message, dict):
        return
    if "originationNumber" in message and "messageBody" in message:
        yield Inbound(
            id=id_of(message.get("inboundMessageId") or notification_id, "inboundMessageId"),
            number=text_of(message["originationNumber"]),
            to=text_of(message.get("destinationNumber")),
            text=text_of(message["messageBody"]),
            raw=message,
        )
        return
    # EventBridge puts the event into an envelope.
    event = message["detail"] if isinstance(message.get("detail"), dict) else message
    if (kind := text_of(event.get("eventType"))) in _EVENTS:
        said = text_of(event.get("messageStatusDescription")) or text_of(event.get("messageStatus")) or kind
        yield _report(_EVENTS[kind], event.get("messageId"), said)
    elif isinstance(event.get("notification"), dict) and text_of(event.get("status")) in ("SUCCESS", "FAILURE"):
        delivery = event["delivery"] if isinstance(event.get("delivery"), dict) else {}
        found = event["notification"].get("messageId")
        yield _report(event["status"] == "SUCCESS", found, text_of(delivery.get("providerResponse")))


def _report(delivered: bool, given: object, said: str) -> Report:
    provider_id = id_of(given, "messageId")
    if delivered:
        return Report("delivered", provider_id=provider_id)
    return Report("undelivered", provider_id=provider_id, reason=said)


# Certificates


def is_of_sns(url: str, topic: str, base: str) -> bool:
    """Whether ``url`` is of the SNS that owns ``topic``: its region's host, or ``API_BASE`` (a stand-in for AWS)."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    if base and (parts.scheme, parts.netloc) == tuple(urlsplit(base))[:2]:
        return http.is_secure(url)
    # The topic is one of TOPICS by now, so that its region is no forger's choice.
    if not (arn := ARN.fullmatch(topic)):
        return False
    suffix = "amazonaws.com.cn" if arn["partition"] == "aws-cn" else "amazonaws.com"
    return (
        parts.scheme == "https"
        and parts.hostname == f"sns.{arn['region']}.{suffix}"
        and port in (None, 443)
        and parts.username is None
    )


def _certificate(url: str, topic: str, options: SNSOptions) -> Certificate:
    """The certificate at ``url``, which only SNS can have put there: the address is one of SNS and the connection's
    own certificates are verified. It must be valid now, and name SNS."""
    if not is_of_sns(url, topic, options.API_BASE) or not url.partition("?")[0].endswith(".pem"):
        raise Forged("Its SigningCertURL is not of SNS.")
    certificate = _fetch(url, options.TIMEOUT, int(time.time() // _CERTIFICATE_AGE))
    now = datetime.datetime.now(datetime.UTC)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise Forged("The certificate that signed it is not valid now.")
    return certificate


@functools.lru_cache(maxsize=16)
def _fetch(url: str, timeout: float, period: int) -> Certificate:
    """The certificate at ``url``; asked for again when the next ``period`` begins."""
    answer = _get(url, timeout)
    if not answer.is_success:
        raise NoAnswer(f"The certificate that signed it cannot be fetched: HTTP {answer.status}.")
    return chain(answer.text.encode())


def _get(url: str, timeout: float) -> http.Answer:
    """Fetch ``url``, of which nothing is logged: that of a subscription holds a token."""

    def mask(text: str) -> str:
        return text.replace(url, "(an address of SNS)")

    return http.exchange(http.Request("GET", url), timeout=timeout, mask=mask)


def chain(pem: bytes) -> Certificate:
    """The first certificate in ``pem``; each that follows must have issued the one before it.

    Raises :class:`Forged` when it is none of SNS, or the chain is broken.
    """
    from cryptography import x509

    try:
        certificates = [x509.load_pem_x509_certificate(found) for found in _PEM.findall(pem)]
    except ValueError:
        certificates = []
    if not certificates:
        raise Forged("There is no certificate at its SigningCertURL.")
    first = certificates[0]
    names = [str(item.value) for item in first.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    if not any(_NAMES.fullmatch(name) for name in names):
        raise Forged("The certificate at its SigningCertURL is not of SNS.")
    for issued, issuer in itertools.pairwise(certificates):
        try:
            issued.verify_directly_issued_by(issuer)
        except Exception:
            raise Forged("The certificates at its SigningCertURL are no chain.") from None
    return first
