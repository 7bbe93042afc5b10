"""Maps errors of a mail backend to receipts, and says whether the connection can still be used."""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
from dataclasses import dataclass
from typing import Any, Final, Literal

from django.core.exceptions import ImproperlyConfigured

from dsn_core import Receipt
from dsn_core.kit import CONFIGURATION_PAUSE, causes_of, http
from dsn_email.quotas import QUOTA_PAUSE, is_quota

#: Seconds of the pause when the server cannot check the password at the moment.
TEMPORARY_PAUSE: Final = 60.0
#: Seconds of the pause when a mail service says "too many requests", and not for how long.
THROTTLE_PAUSE: Final = 30.0

_ENHANCED: Final = re.compile(r"\s*([245])\.(\d{1,3})\.(\d{1,3})\b")
#: Replies that ask for a (better) login or for TLS: RFC 4954, and the codes of the registry of RFC 3463.
_LOGIN_CODES: Final = frozenset({530, 534, 535, 538})
_LOGIN_DETAILS: Final = frozenset({"5.7.8", "5.7.9", "5.7.11"})
#: Replies to RCPT that mean the address when there is no enhanced code: no such user, moved, not allowed, no mail here.
_ADDRESS_CODES: Final = frozenset({550, 551, 553, 521, 556})


@dataclass(frozen=True)
class SendResult:
    """What one attempt to send one message came to.

    ``receipt``          the receipt for the message
    ``connection_lost``  the connection cannot be used any more
    ``not_accepted``     the server cannot have accepted the message: it may be sent again at once
    ``unexpected``       nothing is known about such an error: its traceback is needed
    """

    receipt: Receipt
    connection_lost: bool = False
    not_accepted: bool = False
    unexpected: bool = False


def of_opening(error: Exception, said: str) -> Receipt:
    """The receipt for all messages that wait, when no connection could be opened. ``said`` holds no secrets."""
    if isinstance(error, UnicodeError):
        # Its text would show a character of the password.
        return Receipt.pause(
            CONFIGURATION_PAUSE,
            reason="The user name, the password or the host of the mail server has characters that SMTP cannot carry.",
        )
    if isinstance(error, smtplib.SMTPResponseException) and is_quota(said, _detail(error.smtp_error)):
        return _quota(said)
    if isinstance(error, smtplib.SMTPAuthenticationError):
        if 400 <= error.smtp_code < 500:
            return Receipt.pause(
                TEMPORARY_PAUSE, reason=f"The mail server cannot check the login at the moment: {said}"
            )
        return Receipt.pause(CONFIGURATION_PAUSE, reason=f"The mail server refuses the user name or password: {said}")
    if isinstance(error, smtplib.SMTPNotSupportedError) or type(error) is smtplib.SMTPException:
        # The settings ask for TLS or a login, and the server offers none that Python knows.
        return Receipt.pause(
            CONFIGURATION_PAUSE, reason=f"The mail server does not offer what the settings ask for: {said}"
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return Receipt.pause(CONFIGURATION_PAUSE, reason=f"The mail server's certificate is not trusted: {said}")
    if isinstance(error, ImproperlyConfigured | ImportError | TypeError | ValueError):
        return Receipt.pause(CONFIGURATION_PAUSE, reason=f"The mail settings cannot work: {said}")
    return Receipt.retry(reason=f"No connection to the mail server: {said}")


def of_sending(error: Exception, said: str, *, smtp: bool, body_sent: bool) -> SendResult:
    """The result for one message. ``smtp``: the SMTP dialogue was watched, so that ``body_sent`` is known."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, text = next(iter(error.recipients.values()), (0, b""))
        return _of_reply(code, text, said, about="address")
    if isinstance(error, smtplib.SMTPDataError):
        return _of_reply(error.smtp_code, error.smtp_error, said, about="message", body_sent=body_sent)
    if isinstance(error, smtplib.SMTPResponseException):
        return _of_reply(error.smtp_code, error.smtp_error, said, about="account", body_sent=body_sent)
    if smtp and isinstance(error, OSError) and not isinstance(error, smtplib.SMTPNotSupportedError):
        if body_sent:
            return SendResult(
                Receipt.unknown(f"The connection was lost before the server answered: {said}"), connection_lost=True
            )
        return SendResult(
            Receipt.retry(reason=f"The connection was lost: {said}"), connection_lost=True, not_accepted=True
        )
    if result := _of_esp(error, said):
        return result
    if is_quota(said):
        return SendResult(_quota(said), connection_lost=True)
    if isinstance(error, ImproperlyConfigured):
        return SendResult(
            Receipt.pause(CONFIGURATION_PAUSE, reason=f"The mail settings cannot work: {said}"), connection_lost=True
        )
    if isinstance(error, ValueError | TypeError | smtplib.SMTPNotSupportedError):
        return SendResult(Receipt.failed(f"The message cannot be sent as e-mail: {said}"))
    return _of_unknown_backend(error, said)


def said_by(error: Exception) -> str:
    """What an error says, in the server's words where it repeats them. May hold secrets."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "; ".join(f"{code} {_text(text)}" for code, text in error.recipients.values())
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{error.smtp_code} {_text(error.smtp_error)}"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _text(reply: bytes | str) -> str:
    return reply.decode("utf-8", "replace") if isinstance(reply, bytes) else str(reply)


def _detail(text: bytes | str) -> str:
    """The enhanced status code with which a reply begins; empty when it has none."""
    enhanced = _ENHANCED.match(_text(text))
    return ".".join(enhanced.groups()) if enhanced else ""


def _quota(said: str) -> Receipt:
    return Receipt.pause(QUOTA_PAUSE, reason=f"The account has sent as much as it may: {said}")


def _of_reply(
    code: int,
    text: bytes | str,
    said: str,
    *,
    about: Literal["account", "address", "message"],
    body_sent: bool = False,
) -> SendResult:
    """The result that a reply of the server means. ``about``: what the answered command names.

    A reply to RCPT or DATA is about one address or one message, even if its code asks for a login: a
    server that does not relay to other domains answers 530 to that one RCPT.
    """
    detail = _detail(text)
    if 400 <= code < 600 and is_quota(said, detail):
        return SendResult(_quota(said), connection_lost=True)
    if code == 421:
        return SendResult(Receipt.retry(reason=said), connection_lost=True, not_accepted=True)
    if 400 <= code < 500:
        return SendResult(Receipt.retry(reason=said))
    if about == "account" and (code in _LOGIN_CODES or detail in _LOGIN_DETAILS):
        return SendResult(
            Receipt.pause(CONFIGURATION_PAUSE, reason=f"The mail server wants another login: {said}"),
            connection_lost=True,
        )
    if code == 503 and not body_sent:
        # "Bad sequence of commands": the states of client and server differ. A new connection may help.
        return SendResult(Receipt.retry(reason=said), connection_lost=True, not_accepted=True)
    if 500 <= code < 600:
        refused = about == "address" and (
            detail.startswith("5.1.") or detail == "5.2.1" if detail else code in _ADDRESS_CODES
        )
        return SendResult(Receipt.invalid_address(said) if refused else Receipt.failed(said))
    # Not a valid SMTP reply.
    if body_sent:
        return SendResult(Receipt.unknown(f"The server's answer is no valid SMTP reply: {said}"), connection_lost=True)
    return SendResult(
        Receipt.retry(reason=f"The server's answer is no valid SMTP reply: {said}"),
        connection_lost=True,
        not_accepted=True,
    )


def _of_esp(error: Exception, said: str) -> SendResult | None:
    """What django-anymail's errors mean. Recognised by name and ``status_code``: anymail is not imported."""
    names = {cls.__name__ for cls in type(error).__mro__}
    if "AnymailRecipientsRefused" in names:
        status = getattr(getattr(error, "email_message", None), "anymail_status", None)
        return SendResult(of_status(status) or Receipt.invalid_address(said))
    if names & {"AnymailUnsupportedFeature", "AnymailInvalidAddress", "AnymailSerializationError"}:
        return SendResult(Receipt.failed(f"The mail service cannot send this message: {said}"))
    code = getattr(error, "status_code", None)
    if "AnymailError" not in names or not isinstance(code, int):
        return None
    if code == 429:
        asked = _retry_after(error)
        if asked is None and is_quota(said):
            return SendResult(_quota(said), connection_lost=True)
        wait = THROTTLE_PAUSE if asked is None else asked
        return SendResult(
            Receipt.pause(wait, reason=f"The mail service asks for a pause: {said}"), connection_lost=True
        )
    if code == 402 or (400 <= code < 500 and is_quota(said)):
        # "Payment required": the account has no credits left.
        return SendResult(_quota(said), connection_lost=True)
    if code == 403 and "recipient" in said.lower():
        # An account that is not yet approved may write to some addresses, and not to this one.
        return SendResult(Receipt.failed(said))
    if code in (401, 403):
        return SendResult(
            Receipt.pause(CONFIGURATION_PAUSE, reason=f"The mail service refuses the key: {said}"), connection_lost=True
        )
    if code in (408, 425, 503):
        return SendResult(Receipt.retry(reason=said))
    if 400 <= code < 500:
        return SendResult(Receipt.failed(said))
    # A failure within the service, or a success that it reports in an unknown form.
    return SendResult(Receipt.unknown(f"The mail service may have taken it: {said}"))


def provider_id_of(status: Any) -> str:
    """The id that ``anymail_status`` has for a message with one receiver; empty when there is none.

    It is a set where receivers have different ids, or some have none: no one id of the message.
    """
    given = getattr(status, "message_id", None)
    return given if isinstance(given, str) else ""


def of_status(status: Any) -> Receipt | None:
    """The receipt that ``anymail_status`` of a message asks for; None when it was taken or says nothing."""
    found = getattr(status, "status", None) or set()
    if "rejected" in found or "invalid" in found:
        return Receipt.invalid_address(f"The mail service says: {', '.join(sorted(map(str, found)))}")
    if "failed" in found:
        return Receipt.retry(reason="The mail service says: failed")
    return None


def _retry_after(error: Exception) -> float | None:
    """The seconds that the service asks to wait, a day at most; None where it does not say."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    asked = headers.get("Retry-After")
    return None if asked is None else http.seconds_of(str(asked))


def _of_unknown_backend(error: Exception, said: str) -> SendResult:
    """The best guess about a backend that is neither SMTP nor anymail's: unknown when it may have gone out."""
    chain = list(causes_of(error))
    names = {cls.__name__ for item in chain for cls in type(item).__mro__}
    if any(isinstance(item, ConnectionRefusedError | socket.gaierror) for item in chain) or names & {
        "ConnectTimeout",
        "ConnectTimeoutError",
    }:
        return SendResult(
            Receipt.retry(reason=f"No connection to the mail service: {said}"), connection_lost=True, not_accepted=True
        )
    if any("Timeout" in name for name in names) or any(isinstance(item, ConnectionError) for item in chain):
        return SendResult(Receipt.unknown(f"The mail service did not answer: {said}"), connection_lost=True)
    return SendResult(Receipt.retry(reason=said), connection_lost=True, unexpected=True)
