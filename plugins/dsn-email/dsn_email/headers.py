"""Checks of header values, and the reader of e-mail addresses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import idna
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.functional import Promise

from dsn_core.exceptions import InvalidAddress

#: Every character that some mail program or library reads as the end of a line, and NUL.
_BREAK: Final = re.compile("[\r\n\0\v\f\x1c-\x1e\x85\u2028\u2029]")
#: Characters that a display name may hold between quotes only, RFC 5322 section 3.2.3.
_SPECIAL: Final = re.compile(r'[()<>\[\]:;@\\,."]')
#: The same without the dot, which section 4.1 allows. "Dr. No" needs no warning.
_MISLEADING: Final = re.compile(r'[()<>\[\]:;@\\,"]')
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
#: A display name that cannot hold another address outside its quotes.
_DISPLAY_NAME: Final = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^<>@"\\])*')
#: Characters of a domain, RFC 1035.
_LONGEST_DOMAIN: Final = 253
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


@dataclass(frozen=True)
class Mailbox:
    """An address with its domain in ASCII, and a display name, which may be empty.

    ``is_misquoted``: the display name stood without the quotes that it needs.
    """

    address: str
    display_name: str = ""
    is_misquoted: bool = False

    def __str__(self) -> str:
        """As it stands in a header."""
        if not self.display_name:
            return self.address
        name = self.display_name
        if _SPECIAL.search(name):
            escaped = name.replace("\\", r"\\").replace('"', r"\"")
            name = f'"{escaped}"'
        return f"{name} <{self.address}>"


def one_line(name: str, value: object) -> str:
    """``value`` as text, or :class:`HeaderError` when it would be more than one line."""
    if not isinstance(value, str | int | Promise):
        raise HeaderError(f"The header {name} is {type(value).__name__}; it must be a text.")
    text = str(value)
    if found := _BREAK.search(text):
        raise HeaderError(
            f"The header {name} holds {_named(found)}; nothing was sent, since it could forge other headers."
        )
    return text


def _named(found: re.Match[str]) -> str:
    return "a NUL character" if found[0] == "\0" else "a line break"


def extra_headers(given: Mapping[Any, object]) -> dict[str, str]:
    """A copy of ``given`` that is safe to send, or :class:`HeaderError`."""
    checked = {}
    for name, value in given.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise HeaderError(
                f"{name!r} is not a name of a header: it is made of ASCII characters without blanks and colons."
            )
        lower = name.lower()
        if lower in RESERVED or lower.startswith("content-"):
            raise HeaderError(f"The header {name} cannot be set. {RESERVED.get(lower, 'It follows from the content')}.")
        checked[name] = one_line(name, value)
    return checked


def mailbox(name: str, value: object) -> Mailbox:
    """A sender's address, with or without a display name; :class:`HeaderError` when it is no address."""
    found = _read(one_line(name, value).strip())
    # Django sends as "webmaster" too: a mailbox of the mail server's own domain.
    is_local = name == "From" and found is not None and found.address and "@" not in found.address
    if found is None or not _is_address(f"{found.address}@localhost" if is_local else found.address):
        raise HeaderError(f"The header {name} is not an e-mail address.")
    return found


def mailboxes(name: str, value: object) -> list[Mailbox]:
    """One or several addresses, given as a text or a list; :class:`HeaderError` when one is no address."""
    if isinstance(value, str | Promise):
        items: Iterable[object] = [value] if str(value) else []
    elif isinstance(value, Sequence):
        items = value
    else:
        raise HeaderError(f"The header {name} is {type(value).__name__}; it must be an address or a list of addresses.")
    return [mailbox(name, item) for item in items]


def receiver_address(value: str) -> str:
    """The bare address in ``value``, without a display name, its domain in ASCII.

    Raises :class:`~dsn_core.exceptions.InvalidAddress` when there is none that SMTP can carry.
    """
    if broken := _BREAK.search(value):
        raise InvalidAddress(f"The address holds {_named(broken)}.")
    found = _read(value.strip())
    if found is None or not _is_address(found.address):
        local, _, _ = value.strip().rpartition("@")
        why = " (letters outside ASCII before the @ cannot be sent)" if local and not local.isascii() else ""
        raise InvalidAddress(f"{value[:100]!r} is not an e-mail address{why}.")
    return found.address


def _read(text: str) -> Mailbox | None:
    """``someone@example.org``, or with a display name before angle brackets; None for anything else.

    Checks and sending both read addresses by this function. A display name that lacks
    its quotes (``Foo, Inc. <foo@example.org>``) gets them, unless it may hold another address.
    """
    if not text.endswith(">"):
        address = _in_ascii(text)
        return None if address is None else Mailbox(address)
    display_name, bracket, address = text[:-1].rpartition("<")
    ascii_address = _in_ascii(address) if bracket else None
    if ascii_address is None:
        return None
    if not _DISPLAY_NAME.fullmatch(display_name):
        return None
    is_misquoted = bool(_MISLEADING.search(_QUOTED.sub("", display_name)))
    name = _QUOTED.sub(lambda quoted: re.sub(r"\\(.)", r"\1", quoted[1]), display_name.strip())
    return Mailbox(ascii_address, name, is_misquoted)


def _in_ascii(address: str) -> str | None:
    """``address`` with its domain as the DNS has it, by IDNA 2008; None when there is no such domain."""
    local, at, domain = address.rpartition("@")
    if not at or domain.isascii():
        return address
    if len(domain) > _LONGEST_DOMAIN:
        return None
    try:
        return f"{local}@{idna.encode(domain, uts46=True, std3_rules=True).decode()}"
    except idna.IDNAError:
        return None


def _is_address(address: str) -> bool:
    try:
        validate_email(address)
    except ValidationError:
        return False
    return True
