"""Makes a Django e-mail from each message of a batch."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from django.conf import settings
from django.core.mail.utils import DNS_NAME

from dsn_core import Message
from dsn_core.kit import place_to_cut
from dsn_email.headers import HeaderError, Mailbox, extra_headers, mailbox, mailboxes, one_line, receiver_address
from dsn_email.mime import Email
from dsn_email.options import EmailOptions

#: The key of ``Message.extra`` for what templates say to this messenger, and the keys within it.
EXTRA: Final = "email"
EXTRA_KEYS: Final = ("attachments", "headers", "reply_to")
#: How much of the text becomes the subject when a template has none.
SUBJECT_LENGTH: Final = 78
Attachment = tuple[str, str | bytes, str] | tuple[str, str | bytes, None]
_ID: Final = re.compile(r"[A-Za-z0-9_=+-]+(\.[A-Za-z0-9_=+-]+)*")
_MIMETYPE: Final = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+")


@dataclass(frozen=True)
class OutgoingMessage:
    """What the e-mail for ``message`` is made of. All of it was checked."""

    message: Message
    sender: Mailbox
    address: str
    subject: str
    text: str
    html: str
    reply_to: Sequence[str]
    #: Those that the messages of a batch share, without those that the message has its own of.
    shared_headers: Mapping[str, str]
    own_headers: Mapping[str, str]
    attachments: Sequence[Attachment]
    #: The Message-ID without its brackets.
    message_id: str
    has_own_reply_to: bool = False

    @cached_property
    def email(self) -> Email:
        """As an e-mail of Django's, for any mail backend."""
        email = Email(
            subject=self.subject,
            body=self.text,
            from_email=str(self.sender),
            to=[self.address],
            reply_to=self.reply_to,
            headers={**self.shared_headers, **self.own_headers, "Message-ID": f"<{self.message_id}>"},
            attachments=self.attachments,
        )
        if self.html:
            email.attach_alternative(self.html, "text/html")
        return email


class MessageFactory:
    """Makes the e-mails of one batch. What they have in common is made once.

    Raises :class:`~dsn_email.headers.HeaderError` when the options or DEFAULT_FROM_EMAIL cannot be sent.
    """

    def __init__(self, options: EmailOptions) -> None:
        self._sender = mailbox("From", options.FROM or settings.DEFAULT_FROM_EMAIL)
        self._reply_to = _written(mailboxes("Reply-To", options.REPLY_TO))
        # RFC 3834: asks programs that answer by themselves, such as out-of-office replies, not to do so.
        self._headers = {"Auto-Submitted": "auto-generated", **extra_headers(options.HEADERS)}
        self._domain = _domain(self._sender)

    def make(self, message: Message) -> OutgoingMessage:
        """The e-mail for ``message``. Uses no network.

        Raises :class:`~dsn_core.exceptions.InvalidAddress` for its address and
        :class:`~dsn_email.headers.HeaderError` for anything else that cannot be sent.
        """
        address = receiver_address(message.address)
        extra = _extra(message)
        own_headers = _own_headers(extra)
        own_reply_to = _written(mailboxes("Reply-To", extra["reply_to"])) if "reply_to" in extra else None
        text = message.text
        return OutgoingMessage(
            message,
            self._sender,
            address,
            one_line("Subject", message.subject) or _subject(text),
            text,
            message.html,
            self._reply_to if own_reply_to is None else own_reply_to,
            _without(self._headers, own_headers),
            own_headers,
            [_attachment(item) for item in _listed(extra.get("attachments", ()))],
            f"{_local_id(message.id)}@{self._domain}",
            has_own_reply_to=own_reply_to is not None,
        )


def _written(found: Iterable[Mailbox]) -> list[str]:
    return [str(item) for item in found]


def _domain(sender: Mailbox) -> str:
    """The domain of the Message-IDs: the sender's, or this machine's name when that is local."""
    domain = sender.address.rpartition("@")[2]
    return domain if "." in domain and not domain.startswith("[") else DNS_NAME.get_fqdn()


def _local_id(message_id: str) -> str:
    """``message_id`` itself where it can stand in a header, else a digest of it: always the same one."""
    if len(message_id) <= 64 and _ID.fullmatch(message_id):
        return message_id
    return hashlib.sha256(message_id.encode(errors="surrogatepass")).hexdigest()


def _subject(text: str) -> str:
    """A subject for a message without one: the beginning of its text."""
    words = " ".join(next((line for line in text.splitlines() if line.strip()), "").split())
    if len(words) > SUBJECT_LENGTH:
        # Not within a grapheme cluster: an emoji or an accented letter would become another one.
        words = words[: place_to_cut(words, SUBJECT_LENGTH - 1, between=())].rstrip() + "…"
    return words or "(no subject)"


def _own_headers(extra: Mapping[str, Any]) -> dict[str, str]:
    own = extra.get("headers", {})
    if not isinstance(own, Mapping):
        raise HeaderError(f"extra['{EXTRA}']['headers'] is {type(own).__name__}; it must be a dict.")
    return extra_headers(own)


def _without(shared: Mapping[str, str], own: Mapping[str, str]) -> Mapping[str, str]:
    """The headers of the batch without those that the message has, whose names may differ in their case."""
    taken = {name.lower() for name in own}
    return {name: value for name, value in shared.items() if name.lower() not in taken} if taken else shared


def _extra(message: Message) -> Mapping[str, Any]:
    extra = message.extra.get(EXTRA) or {}
    if not isinstance(extra, Mapping):
        raise HeaderError(f"extra['{EXTRA}'] of the message is {type(extra).__name__}; it must be a dict.")
    unknown = sorted(str(key) for key in extra if key not in EXTRA_KEYS)
    if unknown:
        raise HeaderError(
            f"extra['{EXTRA}'] of the message holds {', '.join(unknown)}; it can hold {', '.join(EXTRA_KEYS)}."
        )
    return extra


def _listed(items: object) -> Sequence[object]:
    if isinstance(items, str | bytes) or not isinstance(items, Sequence):
        raise HeaderError(f"extra['{EXTRA}']['attachments'] is {type(items).__name__}; it must be a list.")
    return items


def _attachment(item: object) -> Attachment:
    """A checked ``(name, content)`` or ``(name, content, mimetype)``."""
    if not isinstance(item, tuple | list) or len(item) not in (2, 3):
        raise HeaderError("An attachment is (name, content) or (name, content, mimetype).")
    name, content, mimetype = (*item, None)[:3]
    if not isinstance(name, str) or not name:
        raise HeaderError("An attachment has no name.")
    one_line("Content-Disposition", name)
    if not isinstance(content, str | bytes):
        raise HeaderError(
            f"The content of the attachment {name!r} is {type(content).__name__}; it must be text or bytes."
        )
    if mimetype is not None and not (isinstance(mimetype, str) and _MIMETYPE.fullmatch(mimetype)):
        raise HeaderError(f"The type of the attachment {name!r} is no MIME type such as 'application/pdf'.")
    return (name, content, None) if mimetype is None else (name, content, mimetype)
