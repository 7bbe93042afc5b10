"""The web address at which providers reach this site."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

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


def about(url: str, message_id: str) -> str:
    """``url`` for one message; empty when ``url`` is."""
    return f"{url}?{MESSAGE}={quote(message_id, safe='')}" if url else ""


def called(request: HttpRequest, public_url: str) -> str:
    """The address that the provider called, as exactly as can be known.

    Behind a proxy a request may look like one to another host, or like http: ``public_url`` knows better.
    """
    if public_url:
        return public_url.rstrip("/") + request.get_full_path()
    return request.build_absolute_uri()
