"""What may stand in a header, and what an address is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from email.utils import parseaddr
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.functional import Promise

from dsn_core.exceptions import InvalidAddress

#: Everything that some mail program or library takes for the end of a line, and NUL.
_BREAK: Final = re.compile("[\r\n\0\v\f\x1c-\x1e\x85\u2028\u2029]")
#: A header's name, RFC 5322 section 3.6.8.
_NAME: Final = re.compile(r"[!-9;-~]+")
#: Headers that only the messenger may set, and how to set them instead.
RESERVED: Final[Mapping[str, str]] = {
    "bcc": "One delivery is one message to one receiver",
    "cc": "One delivery is one message to one receiver",
    "from": "Set the option FROM",
    "message-id": "It belongs to the delivery and stays the same over retries",
    "mime-version": "It follows from the content",
    "reply-to": "Set the option REPLY_TO, or extra['email']['reply_to'] of the message",
    "subject": "Set the subject in the message template",
    "to": "It is the receiver's address",
}


class HeaderError(ValueError):
    """A header that cannot be sent. Its text says which, without showing a value."""


def one_line(name: str, value: object) -> str:
    """``value`` as text, or :class:`HeaderError` when it would be more than one line."""
    if not isinstance(value, str | int | Promise):
        raise HeaderError(f"The header {name} is {type(value).__name__}; it must be a text.")
    text = str(value)
    if _BREAK.search(text):
        raise HeaderError(
            f"The header {name} holds a line break; nothing was sent, since it could forge other headers."
        )
    return text


def extra_headers(given: Mapping[Any, object]) -> dict[str, str]:
    """A copy of ``given`` that is safe to send, or :class:`HeaderError`."""
    checked = {}
    for name, value in given.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise HeaderError(
                f"{name!r} is not a name of a header: it is made of ASCII signs without blanks and colons."
            )
        lower = name.lower()
        if lower in RESERVED or lower.startswith("content-"):
            raise HeaderError(f"The header {name} cannot be set. {RESERVED.get(lower, 'It follows from the content')}.")
        checked[name] = one_line(name, value)
    return checked


def mailbox(name: str, value: object) -> str:
    """A sender's address, maybe with a display name, as it stands; :class:`HeaderError` when it is none."""
    text = one_line(name, value).strip()
    address = _without_display_name(text)
    if name == "From" and address and "@" not in address:
        # Django sends as "webmaster" too: a mailbox of the mail server's own domain.
        address = f"{address}@localhost"
    try:
        validate_email(address)
    except ValidationError:
        raise HeaderError(f"The header {name} is not an e-mail address.") from None
    return text


def mailboxes(name: str, value: object) -> list[str]:
    """One or several addresses, given as a text or a list; :class:`HeaderError` when one is none."""
    if isinstance(value, str | Promise):
        items: Iterable[object] = [value] if str(value) else []
    elif isinstance(value, Sequence):
        items = value
    else:
        raise HeaderError(f"The header {name} is {type(value).__name__}; it must be an address or a list of addresses.")
    return [mailbox(name, item) for item in items]


def receiver_address(value: str) -> str:
    """The bare address in ``value``, without a display name.

    Raises :class:`~dsn_core.exceptions.InvalidAddress` when there is none that SMTP can carry.
    """
    if _BREAK.search(value):
        raise InvalidAddress("The address holds a line break.")
    address = _without_display_name(value.strip())
    try:
        validate_email(address)
    except ValidationError:
        local, _, _ = address.rpartition("@")
        why = " (letters outside ASCII before the @ cannot be sent)" if local and not local.isascii() else ""
        raise InvalidAddress(f"{value[:100]!r} is not an e-mail address{why}.") from None
    return address


def _without_display_name(text: str) -> str:
    # Only with brackets: parseaddr() would also make "someone" of "some one".
    return parseaddr(text)[1] if text.endswith(">") else text
