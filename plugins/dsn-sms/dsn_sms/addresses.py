"""Makes and verifies the web address at which providers reach this site."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from django.core.signing import BadSignature, Signer
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from dsn_sms.exceptions import Forged

#: The argument that carries our own id of a message there and back.
MESSAGE: Final = "message"


def report_url(alias: str, public_url: str) -> str:
    """Where the provider reports about the messages of ``alias``; empty when it cannot reach this site.

    :func:`about` adds the message.
    """
    if not public_url:
        return ""
    try:
        return public_url.rstrip("/") + reverse("dsn_sms:callback", args=[alias])
    except NoReverseMatch:
        return ""


def about(url: str, reference: str) -> str:
    """``url`` for one message, which ``reference`` names; empty when ``url`` is."""
    return f"{url}?{MESSAGE}={quote(reference, safe='')}" if url else ""


def signed(message_id: str, alias: str) -> str:
    """A reference to a message that only this site can make, for this account alone."""
    return _signer(alias).sign(message_id)


def unsigned(reference: str, alias: str) -> str:
    """The message that ``reference`` names. Raises :class:`Forged` when :func:`signed` did not make it."""
    try:
        return _signer(alias).unsign(reference)
    except (BadSignature, UnicodeError):
        raise Forged("The address names a message, and this site did not write that.") from None


def _signer(alias: str) -> Signer:
    return Signer(salt=f"dsn_sms.report.{alias}")


def called(request: HttpRequest, public_url: str) -> str:
    """The address that the provider called, as exactly as can be known.

    Behind a proxy a request may look like one to another host, or like http: ``public_url`` knows better.
    """
    if public_url:
        return public_url.rstrip("/") + request.get_full_path()
    return request.build_absolute_uri()
