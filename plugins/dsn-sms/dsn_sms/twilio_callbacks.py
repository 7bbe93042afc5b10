"""Verifies and reads what Twilio posts: status callbacks and incoming messages."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from django.http import HttpRequest, QueryDict

from dsn_core.kit import clean_text
from dsn_sms import addresses
from dsn_sms.callbacks import body_of, form_of, id_of, is_same, json_object, text_of
from dsn_sms.exceptions import Forged
from dsn_sms.providers.base import Inbound, Report

if TYPE_CHECKING:
    from dsn_sms.providers.twilio import TwilioOptions

#: The statuses that nothing follows. Others (queued, sending, sent) say nothing that is not known.
_FINAL: Final = {
    **dict.fromkeys(("delivered", "read"), "delivered"),
    **dict.fromkeys(("undelivered", "failed", "canceled"), "undelivered"),
}
_PORTS: Final = {"https": 443, "http": 80}


def read(request: HttpRequest, options: TwilioOptions, message: str) -> Iterator[Report | Inbound]:
    """What a signed request says. ``message`` is our own id, from the address, which is signed as well.

    Raises :class:`Forged` or :class:`Unreadable`.
    """
    verify(request, options)
    fields = _fields(request)
    message_id = id_of(fields.get("MessageSid"), "MessageSid")
    status = fields.get("MessageStatus") or fields.get("SmsStatus", "")
    if status in ("received", "receiving"):
        yield Inbound(
            id=message_id,
            number=fields.get("From", ""),
            to=fields.get("To", ""),
            text=fields.get("Body", ""),
            # Set where Twilio itself answers STOP, START and HELP ("Advanced Opt-Out").
            kind=fields.get("OptOutType", "").lower(),
            raw=fields,
        )
    elif state := _FINAL.get(status):
        code = fields.get("ErrorCode", "")
        reason = (
            " ".join(filter(None, (status, code, fields.get("ErrorMessage", "")))) if state == "undelivered" else ""
        )
        yield Report(
            "delivered" if state == "delivered" else "undelivered",
            message_id=message,
            provider_id=message_id,
            reason=reason,
        )


def verify(request: HttpRequest, options: TwilioOptions) -> None:
    """Raise :class:`Forged` unless Twilio signed the request.

    The signature is over the address that Twilio called, and the sorted fields of a form. For any other body the
    address holds its SHA-256.
    """
    given = request.headers.get("X-Twilio-Signature", "")
    digest, key = _algorithm(request.headers.get("X-Twilio-Webhooks-Signature-Settings", ""), options)
    url = addresses.called(request, options.PUBLIC_URL)
    form: QueryDict | None = form_of(request) if _is_form(request) else None
    if form is None and (body := body_of(request)):
        stated = request.GET.get("bodySHA256", "")
        if not is_same(hashlib.sha256(body).hexdigest(), stated.lower()):
            raise Forged("The body is not the one that was signed.")
    # Twilio signs with or without the port, which proxies may add or take away.
    try:
        variants = _with_and_without_port(url)
    except ValueError:
        raise Forged("It was called by an address that is none.") from None
    if not any(is_same(signature(variant, form, key, digest), given) for variant in variants):
        raise Forged(
            "The signature is wrong. If Twilio sent it: AUTH_TOKEN is another account's, or Twilio calls another "
            f"address than {url!r} (behind a proxy, set PUBLIC_URL)."
        )


def signature(url: str, form: QueryDict | None, key: str, digest: str = "sha1") -> str:
    """The signature of a request to ``url``, as Twilio makes it."""
    text = url
    for name in sorted(form or {}):
        for value in sorted(set(form.getlist(name) if form else [])):
            text += name + value
    return base64.b64encode(hmac.digest(key.encode(), text.encode("utf-8", "replace"), digest)).decode()


def _algorithm(settings: str, options: TwilioOptions) -> tuple[str, str]:
    """The hash and the key that the header names: the account's token, or a shared key."""
    named = dict(part.strip().partition("=")[::2] for part in settings.split(","))
    algorithm = named.get("algorithm", "").upper()
    if algorithm in ("", "HMAC_SHA1"):
        return "sha1", options.AUTH_TOKEN
    if algorithm != "HMAC_SHA256":
        raise Forged(f"It is signed by {algorithm[:40]!r}, which is not supported.")
    if not options.SHARED_KEY:
        raise Forged("It is signed with a shared key, and the option SHARED_KEY is not set.")
    return "sha256", options.SHARED_KEY


def _with_and_without_port(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    bare = host[: host.rfind(":")] if parts.port is not None else host
    port = parts.port or _PORTS.get(parts.scheme, 443)
    with_port = parts._replace(netloc=f"{bare}:{port}")
    return parts._replace(netloc=bare).geturl(), with_port.geturl()


def _is_form(request: HttpRequest) -> bool:
    return request.content_type in ("application/x-www-form-urlencoded", "multipart/form-data")


def _fields(request: HttpRequest) -> Mapping[str, str]:
    if _is_form(request):
        found = request.POST.dict()
    else:
        found = dict(json_object(request)) if body_of(request) else request.GET.dict()
    return {clean_text(key): text_of(value) for key, value in found.items()}
