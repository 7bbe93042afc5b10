"""Writes the messages of a batch as bytes for SMTP: what they have in common is made once, by Django.

Django makes one message with markers in the places of what differs. Its bytes, cut at the markers, are the skeleton.
For each message only the subject, the address, the Message-ID, headers of its own, the boundary and the bodies are
written. So the order of the headers, and all that is the same in each message, are Django's own in every version.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from django.conf import settings

from dsn_email.messages import OutgoingMessage
from dsn_email.mime import boundary, encoded_body, encoded_header, holds_addresses, smtp_bytes

#: Addresses that need no quotes and no encoding, so that they are in a header and in a command of SMTP as they are.
_PLAIN_ADDRESS: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+(?:@[A-Za-z0-9.-]+)?")
#: Text that is in an unstructured header as it is. "=?" could begin an encoded word.
_PLAIN_TEXT: Final = re.compile(r"(?!.*=\?)[!-~]+(?: [!-~]+)*")
#: A header with its name that no version of Python folds.
_SHORT_LINE: Final = 70
#: A line break that does not continue the header: it would begin another one.
_BROKEN: Final = re.compile(rb"\r\n(?![ \t])|\r(?!\n)|(?<!\r)\n")
_ENCODING: Final = b"Content-Transfer-Encoding: %s\r\n"


class Skeletons:
    """The skeletons of one batch, one for each set of headers and bodies. Not for use by several threads."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], _Skeleton | None] = {}
        #: The subjects of the batch: most are the same.
        self._subjects: dict[str, bytes] = {}

    def write(self, message: OutgoingMessage) -> bytes | None:
        """The bytes of ``message``; None when Django has to make them.

        Raises what Django raises for a text or header that it cannot encode.
        """
        if not _is_simple(message):
            return None
        key = (*message.own_headers, "html" if message.html else "text")
        if key not in self._known:
            self._known[key] = _Skeleton.of(message)
        skeleton = self._known[key]
        return None if skeleton is None else skeleton.filled(message, self._subjects)


def _is_simple(message: OutgoingMessage) -> bool:
    return bool(
        message.text
        and not message.attachments
        and not message.has_own_reply_to
        and _PLAIN_ADDRESS.fullmatch(message.address)
        and _PLAIN_ADDRESS.fullmatch(message.sender.address)
        and all(value.isascii() or not holds_addresses(name) for name, value in message.own_headers.items())
        and settings.DEFAULT_CHARSET == "utf-8"
    )


class _Skeleton:
    def __init__(self, pieces: list[bytes], slots: Mapping[int, str]) -> None:
        #: The constant pieces, with empty ones in the places that ``slots`` names.
        self._pieces, self._slots = pieces, slots

    @classmethod
    def of(cls, message: OutgoingMessage) -> _Skeleton | None:
        """The skeleton of messages like ``message``; None when what Django makes cannot be cut."""
        mark = f"mark{secrets.token_hex(8)}"
        marked = replace(
            message,
            address=f"{mark}@{mark}",
            subject=mark,
            text=f"{mark}.text",
            html=f"{mark}.html" if message.html else "",
            own_headers={name: f"{mark}.{number}" for number, name in enumerate(message.own_headers)},
            message_id=mark,
        )
        names = [(written, name) for name, written in _headers(marked, {}).items()]
        bodies = _bodies(marked)
        if any(encoding != b"7bit" for encoding, _body in bodies.values()):
            return None
        names += [(body, name) for name, (_encoding, body) in bodies.items()]
        written, separator = smtp_bytes(marked.email)
        expected = {name: 1 for _, name in names} | {"encoding": len(bodies)}
        names.append((_ENCODING % b"7bit", "encoding"))
        if separator:
            names.append((separator, "boundary"))
            # Where it is said, before each part, and at the end.
            expected["boundary"] = len(bodies) + 2
        return cls._cut(written, dict(names), expected)

    @classmethod
    def _cut(cls, written: bytes, names: Mapping[bytes, str], expected: Mapping[str, int]) -> _Skeleton | None:
        found: dict[str, int] = {}
        slots: dict[int, str] = {}
        pieces = re.split(b"(" + b"|".join(map(re.escape, names)) + b")", written)
        for index in range(1, len(pieces), 2):
            name = names[pieces[index]]
            found[name] = found.get(name, 0) + 1
            slots[index] = f"encoding {found[name]}" if name == "encoding" else name
        return cls(pieces, slots) if found == expected else None

    def filled(self, message: OutgoingMessage, subjects: dict[str, bytes]) -> bytes:
        """The bytes of ``message``. ``subjects``: those that were encoded before, by their text."""
        values = {"boundary": boundary().encode(), **_headers(message, subjects)}
        for number, (name, (encoding, body)) in enumerate(_bodies(message).items(), 1):
            values[name], values[f"encoding {number}"] = body, _ENCODING % encoding
        pieces = self._pieces.copy()
        for index, name in self._slots.items():
            pieces[index] = values[name]
        return b"".join(pieces)


def _headers(message: OutgoingMessage, subjects: dict[str, bytes]) -> dict[str, bytes]:
    """The headers that differ from message to message, by slot."""
    if message.subject not in subjects:
        subjects[message.subject] = _short("Subject", message.subject)
    own = {f"own {number}": _header(*item) for number, item in enumerate(message.own_headers.items())}
    return {
        "subject": subjects[message.subject],
        "address": _short("To", message.address),
        "id": _short("Message-ID", f"<{message.message_id}>"),
        **own,
    }


def _bodies(message: OutgoingMessage) -> dict[str, tuple[bytes, bytes]]:
    """The transfer encodings and the lines of the bodies, by slot."""
    bodies = {"text": encoded_body(message.text, "plain")}
    if message.html:
        bodies["html"] = encoded_body(message.html, "html")
    return bodies


def _short(name: str, value: str) -> bytes:
    """The lines of a header of ours, which is the same in every version while it is short and plain."""
    if len(name) + len(value) < _SHORT_LINE and _PLAIN_TEXT.fullmatch(value):
        return f"{name}: {value}\r\n".encode("ascii")
    return _header(name, value)


def _header(name: str, value: str) -> bytes:
    """The lines of any header. Raises ValueError for a value that would begin another one."""
    written = encoded_header(name, value)
    if not written.endswith(b"\r\n") or _BROKEN.search(written[:-2]):
        raise ValueError(f"The header {name} cannot be encoded.")
    return written
