"""Reads the parts of a callback's request. A request can hold anything, and none of it may raise."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from typing import Any, Final

from django.core.exceptions import BadRequest, SuspiciousOperation
from django.http import HttpRequest
from django.http.multipartparser import MultiPartParserError
from django.http.request import QueryDict

from dsn_core.kit import clean_text
from dsn_sms.exceptions import Unreadable

#: Characters of an id; those of providers have about forty.
_LONGEST_ID: Final = 200


def body_of(request: HttpRequest) -> bytes:
    """The body. Raises :class:`Unreadable` when it is too large or did not come as a whole."""
    try:
        return request.body
    except (SuspiciousOperation, OSError):
        raise Unreadable("Its body cannot be read.") from None


def form_of(request: HttpRequest) -> QueryDict:
    """The fields of a form that was posted. Raises :class:`Unreadable`."""
    # A form is UTF-8, whatever its header says: some "charsets" that Python knows are no encodings of text.
    request.encoding = "utf-8"
    try:
        return request.POST
    except (BadRequest, SuspiciousOperation, MultiPartParserError, OSError, ValueError, LookupError):
        raise Unreadable("Its form cannot be read.") from None


def json_object(request: HttpRequest) -> Mapping[str, Any]:
    """The body as a JSON object. Raises :class:`Unreadable`."""
    try:
        said = json.loads(body_of(request))
    except (ValueError, RecursionError):
        raise Unreadable("Its body is no JSON.") from None
    if not isinstance(said, dict):
        raise Unreadable("Its body is no JSON object.")
    return said


def text_of(value: object) -> str:
    """A value of a provider's JSON as a text that can be stored; empty for lists, objects and null."""
    return clean_text(str(value)) if isinstance(value, str | int | float) else ""


def id_of(value: object, name: str) -> str:
    """A provider's id, whose field is called ``name``. Raises :class:`Unreadable` for what can be none."""
    found = str(value) if isinstance(value, str | int) else ""
    if not found or len(found) > _LONGEST_ID or not found.isprintable():
        raise Unreadable(f"It names no {name}.")
    return found


def is_same(expected: str, given: object) -> bool:
    """Whether ``given`` is the signature that is expected, compared in constant time. May be anything."""
    return isinstance(given, str) and hmac.compare_digest(
        expected.encode("utf-8", "replace"), given.encode("utf-8", "replace")
    )
