"""Reads what a message template says to this messenger alone: ``message.extra["telegram"]``."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from dsn_core import Message
from dsn_core.kit import nearest

KEY: Final = "telegram"
#: What Telegram shows as a photo, and up to which size; else it is a document.
_PHOTO_TYPES: Final = frozenset({"image/jpeg", "image/png", "image/webp"})
_PHOTO_BYTES: Final = 10_000_000
_DOCUMENT_BYTES: Final = 50_000_000


class Unsendable(ValueError):
    """A message that cannot be sent as it is. Its text says why, for operators."""


@dataclass(frozen=True)
class Attachment:
    """A file that goes along."""

    name: str
    content: bytes = field(repr=False)
    mimetype: str

    @property
    def is_photo(self) -> bool:
        return self.mimetype in _PHOTO_TYPES and len(self.content) <= _PHOTO_BYTES


@dataclass(frozen=True)
class Extra:
    """The same, checked, and in the Bot API's own words."""

    #: Of every call, of those with text that is no caption, and of the last with text.
    params: Mapping[str, Any] = field(default_factory=dict)
    preview: Mapping[str, Any] = field(default_factory=dict)
    buttons: Mapping[str, Any] = field(default_factory=dict)
    attachments: Sequence[Attachment] = ()


def read(message: Message) -> Extra:
    """What ``message`` asks for, or :class:`Unsendable`."""
    given = message.extra.get(KEY) or {}
    if not isinstance(given, Mapping):
        raise Unsendable(f"extra[{KEY!r}] of the message is {type(given).__name__}; it must be a dict.")
    for key in given:
        if key not in _READERS:
            raise Unsendable(
                f"extra[{KEY!r}] of the message holds {key!r}{nearest(str(key), _READERS)}; "
                f"it can hold {', '.join(_READERS)}."
            )
    values = {key: _READERS[key](given[key]) for key in _READERS if given.get(key) is not None}
    return Extra(
        params={
            name: values[key]
            for key, name in (
                ("silent", "disable_notification"),
                ("protect_content", "protect_content"),
                ("message_thread_id", "message_thread_id"),
            )
            if values.get(key)
        },
        preview={"link_preview_options": values["link_preview"]} if "link_preview" in values else {},
        buttons={"reply_markup": {"inline_keyboard": values["buttons"]}} if values.get("buttons") else {},
        attachments=values.get("attachments", ()),
    )


def _flag(key: str) -> Callable[[object], bool]:
    def read_flag(value: object) -> bool:
        if not isinstance(value, bool):
            raise Unsendable(f"extra[{KEY!r}][{key!r}] is {value!r}; it must be True or False.")
        return value

    return read_flag


def _thread(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Unsendable(f"extra[{KEY!r}]['message_thread_id'] is {value!r}; it must be a topic's number.")
    return value


def _preview(value: object) -> Mapping[str, Any]:
    """False: no preview. A dict: the Bot API's ``LinkPreviewOptions``."""
    if isinstance(value, bool):
        return {"is_disabled": not value}
    if isinstance(value, Mapping):
        return dict(value)
    raise Unsendable(f"extra[{KEY!r}]['link_preview'] is {value!r}; it must be True, False or a dict of options.")


def _buttons(value: object) -> list[list[dict[str, Any]]]:
    """Rows of buttons, or one row. A button is ``(text, url)``, or the Bot API's own dict."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise Unsendable(f"extra[{KEY!r}]['buttons'] is {type(value).__name__}; it must be a list of buttons.")
    if all(_is_button(item) for item in value):
        value = [value]
    rows = []
    for row in value:
        if isinstance(row, str) or not isinstance(row, Sequence) or not all(_is_button(item) for item in row):
            raise Unsendable(f"extra[{KEY!r}]['buttons'] holds {row!r}; a button is (text, url) or a dict with 'text'.")
        rows.append([dict(item) if isinstance(item, Mapping) else {"text": item[0], "url": item[1]} for item in row])
    return [row for row in rows if row]


def _is_button(item: object) -> bool:
    if isinstance(item, Mapping):
        return isinstance(item.get("text"), str)
    return isinstance(item, tuple | list) and len(item) == 2 and all(isinstance(part, str) for part in item)


def _attachments(value: object) -> list[Attachment]:
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise Unsendable(f"extra[{KEY!r}]['attachments'] is {type(value).__name__}; it must be a list.")
    return [_attachment(item) for item in value]


def _attachment(item: object) -> Attachment:
    if not isinstance(item, tuple | list) or len(item) not in (2, 3):
        raise Unsendable("An attachment is (name, content) or (name, content, mimetype).")
    name, content, mimetype = (*item, None)[:3]
    if not isinstance(name, str) or not name or any(sign < " " or sign in '"\x7f' for sign in name):
        raise Unsendable(f"{name!r} is no name for an attachment.")
    if isinstance(content, str):
        content = content.encode("utf-8", "replace")
    if not isinstance(content, bytes):
        raise Unsendable(
            f"The content of the attachment {name!r} is {type(content).__name__}; it must be text or bytes."
        )
    if not content or len(content) > _DOCUMENT_BYTES:
        raise Unsendable(f"The attachment {name!r} has {len(content)} bytes; Telegram takes 1 to 50 million.")
    kind = mimetype or mimetypes.guess_type(name)[0] or "application/octet-stream"
    if not isinstance(kind, str) or "/" not in kind or not kind.isprintable():
        raise Unsendable(f"The type of the attachment {name!r} is no MIME type such as 'application/pdf'.")
    return Attachment(name, content, kind)


_READERS: Final[Mapping[str, Callable[[object], Any]]] = {
    "attachments": _attachments,
    "buttons": _buttons,
    "link_preview": _preview,
    "message_thread_id": _thread,
    "protect_content": _flag("protect_content"),
    "silent": _flag("silent"),
}
