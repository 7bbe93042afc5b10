"""The rendered message that a messenger sends."""

from __future__ import annotations

import datetime
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from dsn_core.contracts.html import html_to_text

_NOT_STORABLE: Final = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True)
class EventInfo:
    """What a message says of the event that it is about. Read-only, and no query.

    ``id``          the event's key: ``Event.pk``
    ``verb``        the verb of the signal
    ``occurrence``  shared by all events of one signal
    ``time``        when the event was recorded
    """

    id: int
    verb: str
    occurrence: uuid.UUID
    time: datetime.datetime


class Message(str):
    """A message to one receiver.

    A ``str`` (its text, or its HTML when it has no text of its own), so that it can be used where
    a plain text is expected. Made by a message template's ``render``; the pipeline adds the receiver
    and the origin: ``id``, ``address``, ``user``, ``messenger``, ``event`` and ``topics``. None of them costs a query.

    ``subject``    one line, without line breaks; may be empty
    ``text``       plain text; made from the HTML when the template has none
    ``html``       HTML, or an empty string
    ``id``         stable over retries of the same delivery: use it as the provider's idempotency
                   key or ``Message-ID``
    ``address``    where to send it, from the messenger's ``addresses``, or the bare address
    ``user``       the user, or None for a bare address
    ``messenger``  the messenger's name, or the alias of the account, that it is sent by
    ``event``      an :class:`EventInfo`; None where no event led to it (``manage.py dsn_send``)
    ``topics``     what it is about, as a tuple of names: those that its message template declares
    ``extra``      additions of a template for particular messengers, by name

    ``subject``, ``text`` and ``html`` hold no characters that a provider cannot take: NUL is removed, and half of a
    surrogate pair becomes U+FFFD.
    """

    subject: str
    html: str
    id: str
    address: str
    user: Any
    messenger: str
    event: EventInfo | None
    topics: tuple[str, ...]
    extra: dict[str, Any]
    _text: str

    def __new__(
        cls,
        text: str = "",
        *,
        subject: str = "",
        html: str = "",
        id: str = "",
        address: str = "",
        user: Any = None,
        messenger: str = "",
        event: EventInfo | None = None,
        topics: Iterable[str] = (),
        extra: Mapping[str, Any] | None = None,
    ) -> Message:
        text, subject, html = clean_text(text), clean_text(subject), clean_text(html)
        message = super().__new__(cls, text or html)
        message.__dict__.update(
            _text=text,
            subject=" ".join(subject.split()),
            html=html,
            id=id,
            address=address,
            user=user,
            messenger=messenger,
            event=event,
            topics=tuple(topics),
            extra=dict(extra or {}),
        )
        return message

    @property
    def text(self) -> str:
        """Plain text: the template's own, else made from its HTML."""
        if not self._text and self.html:
            self._text = html_to_text(self.html)
        return self._text

    @property
    def size(self) -> int:
        """Bytes of its subject, its HTML and its own text."""
        return sum(len(part.encode()) for part in (self.subject, self._text, self.html))

    def __repr__(self) -> str:
        return f"<Message {self.id or '(no id)'} to {self.address or self.user or '(no receiver)'}: {self.subject!r}>"


def looks_like_html(source: str) -> bool:
    """Whether a template's source is HTML: it closes a tag, or has ``<br>`` or a doctype."""
    return bool(re.search(r"</[a-zA-Z][a-zA-Z0-9]*\s*>|<br\s*/?>|<!doctype html", source, re.IGNORECASE))


def clean_text(text: str) -> str:
    """``text`` in a form that can be encoded, sent and stored everywhere.

    A surrogate pair becomes its character, half a pair becomes U+FFFD, NUL is removed.
    """
    # Quicker than the search, and most texts that are not ASCII need that one.
    if (text.isascii() and "\0" not in text) or not _NOT_STORABLE.search(text):
        return text
    return text.replace("\0", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
