"""Verifies and reads what Vonage posts: webhooks of the Messages API (JWT) and of the older SMS API (parameter)."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import jwt
from django.http import HttpRequest

from dsn_core.kit import describe
from dsn_sms import addresses
from dsn_sms.callbacks import body_of, form_of, id_of, is_same, json_object, text_of
from dsn_sms.exceptions import Forged, Unreadable
from dsn_sms.providers.base import Inbound, Report

if TYPE_CHECKING:
    from dsn_sms.providers.vonage import VonageOptions

#: Seconds after which a signature is no longer believed: a copy of a request is worth nothing later.
MAX_AGE: Final = 300.0

#: Characters of a token; Vonage's have some hundreds.
_LONGEST_TOKEN: Final = 8_192

#: The statuses that nothing follows, in the words of both APIs.
_DELIVERED: Final = frozenset({"delivered", "read"})
_UNDELIVERED: Final = frozenset({"rejected", "undeliverable", "failed", "expired"})


def read(request: HttpRequest, options: VonageOptions, message: str) -> Iterator[Report | Inbound]:
    """What a signed request says. ``message`` is our own id, from the address, or empty.

    Raises :class:`Forged` or :class:`Unreadable`.
    """
    if not options.SIGNATURE_SECRET:
        raise Forged("Nothing can be verified: the option SIGNATURE_SECRET is not set.")
    if request.headers.get("Authorization"):
        verify_token(request, options.SIGNATURE_SECRET, options.API_KEY)
        yield from _from_messages_api(json_object(request), message)
    else:
        fields = _fields(request)
        verify_parameters(fields, options.SIGNATURE_SECRET, options.SIGNATURE_METHOD)
        yield from _from_sms_api(fields, message)


def verify_token(request: HttpRequest, secret: str, api_key: str) -> None:
    """Raise :class:`Forged` unless the request has a fresh JWT for exactly this body."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or len(token) > _LONGEST_TOKEN:
        raise Forged("It has no token.")
    try:
        # The algorithm is ours to choose: a token that says "none" must not be believed.
        claims = jwt.decode(token.strip(), secret, algorithms=["HS256"], options={"require": ["iat"]}, leeway=MAX_AGE)
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
        # The library reads the header before it has verified the signature, and the claims with any types.
        raise Forged(f"Its token is not Vonage's: {describe(error)[:200]}.") from None
    _check_age(claims["iat"])
    if claims.get("api_key", api_key) != api_key:
        raise Forged("Its token is another account's.")
    if not is_same(hashlib.sha256(body_of(request)).hexdigest(), text_of(claims.get("payload_hash")).lower()):
        raise Forged("The body is not the one that was signed.")


def verify_parameters(fields: Mapping[str, Any], secret: str, method: str) -> None:
    """Raise :class:`Forged` unless ``sig`` is a fresh signature of all the other parameters."""
    given = text_of(fields.get("sig")).lower()
    if not given:
        raise Forged("It is not signed.")
    if not is_same(signature(fields, secret, method), given):
        raise Forged("The signature is wrong: SIGNATURE_SECRET or SIGNATURE_METHOD is not the account's.")
    _check_age(fields.get("timestamp"))


def signature(fields: Mapping[str, Any], secret: str, method: str) -> str:
    """The signature of parameters, as the SMS API makes it. ``method`` is the HMAC's hash, e.g. ``"sha256"``."""
    # "&" and "=" in values would let one parameter pass for two.
    text = "".join(
        f"&{name}={str(fields[name]).replace('&', '_').replace('=', '_')}" for name in sorted(fields) if name != "sig"
    )
    return hmac.new(secret.encode(), text.encode("utf-8", "replace"), method).hexdigest()


def _check_age(moment: object) -> None:
    try:
        age = time.time() - float(text_of(moment))
    except ValueError:
        raise Forged("It does not say when it was signed.") from None
    if not abs(age) <= MAX_AGE:
        raise Forged(f"It was signed {age:.0f} s ago. If it is a new one, compare this machine's clock.")


def _from_messages_api(said: Mapping[str, Any], message_id: str) -> Iterator[Report | Inbound]:
    uuid = id_of(said.get("message_uuid"), "message_uuid")
    if "status" not in said:
        # Vonage's other channels use the same webhook.
        if said.get("channel", "sms") == "sms":
            yield Inbound(
                id=uuid,
                number=_number(said.get("from")),
                to=text_of(said.get("to")),
                text=text_of(said.get("text")),
                raw=said,
            )
        return
    error = said.get("error")
    reason = ""
    if isinstance(error, Mapping):
        reason = " ".join(filter(None, (text_of(error.get(key)) for key in ("title", "detail"))))
    yield from _report(text_of(said["status"]), message_id or text_of(said.get("client_ref")), uuid, reason)


def _from_sms_api(fields: Mapping[str, Any], message_id: str) -> Iterator[Report | Inbound]:
    found = id_of(fields.get("messageId") or fields.get("message-id"), "messageId")
    if "status" in fields:
        code = text_of(fields.get("err-code"))
        reason = f"err-code {code}" if code not in ("", "0") else ""
        yield from _report(text_of(fields["status"]), message_id or text_of(fields.get("client-ref")), found, reason)
    else:
        yield Inbound(
            id=found,
            number=_number(fields.get("msisdn")),
            to=text_of(fields.get("to")),
            text=text_of(fields.get("text")),
            raw={name: value for name, value in fields.items() if name != "sig"},
        )


def _number(given: object) -> str:
    """A number as E.164: Vonage leaves the plus out. Names stay as they are."""
    number = text_of(given)
    return f"+{number}" if number.isdecimal() else number


def _report(status: str, message_id: str, provider_id: str, reason: str) -> Iterator[Report]:
    if status in _DELIVERED:
        yield Report("delivered", message_id=message_id, provider_id=provider_id)
    elif status in _UNDELIVERED:
        said = f"{status}: {reason}" if reason else status
        yield Report("undelivered", message_id=message_id, provider_id=provider_id, reason=said)


def _fields(request: HttpRequest) -> Mapping[str, Any]:
    """The parameters: of a form, of JSON, or of the address, as chosen in the dashboard; without our own."""
    if request.content_type == "application/json":
        fields = json_object(request)
        if any(isinstance(value, dict | list) for value in fields.values()):
            raise Unreadable("Its parameters are no plain ones.")
        return fields
    given = form_of(request) if request.method == "POST" else request.GET
    return {name: value for name, value in given.items() if name != addresses.MESSAGE}
