"""A rendered message."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

from dsn_core.contracts.texts import clean_text


class Message(str):
    """What is sent to one receiver.

    A ``str`` (its text, or its HTML when it has no text of its own), so that it can be used where
    a plain text is expected. Made by a message template's ``render``; the pipeline adds who gets it.

    ``subject``   one line, without line breaks; may be empty
    ``text``      plain text; made from the HTML when the template has none
    ``html``      HTML, or an empty string
    ``id``        stable over retries of the same delivery: use it as the provider's idempotency
                  key or ``Message-ID``
    ``address``   where to send it, as the messenger's ``addresses`` said, or the bare address
    ``user``      the user, or None for a bare address
    ``extra``     what a template adds for particular messengers, by name

    What no provider can take is not in ``subject``, ``text`` and ``html``: NUL is left out, and half of
    a surrogate pair is U+FFFD.
    """

    subject: str
    html: str
    id: str
    address: str
    user: Any
    extra: dict[str, Any]

    def __new__(
        cls,
        text: str = "",
        *,
        subject: str = "",
        html: str = "",
        id: str = "",
        address: str = "",
        user: Any = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Message:
        text, subject, html = clean_text(text), clean_text(subject), clean_text(html)
        message = super().__new__(cls, text or html)
        message._text = text
        message.subject = " ".join(subject.split())
        message.html = html
        message.id = id
        message.address = address
        message.user = user
        message.extra = dict(extra or {})
        return message

    _text: str

    @property
    def text(self) -> str:
        """Plain text: the template's own, else what its HTML says."""
        if not self._text and self.html:
            self._text = html_to_text(self.html)
        return self._text

    def __repr__(self) -> str:
        return f"<Message {self.id or '(no id)'} to {self.address or self.user or '(nobody)'}: {self.subject!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # A str subclass with its own __new__ would otherwise come back from copy() without its parts.
        return (_remake, (type(self), self._text, self.__dict__ | {}))


def _remake(cls: type[Message], text: str, state: dict[str, Any]) -> Message:
    message = cls(text, html=state["html"])
    message.__dict__.update(state)
    return message


class _TextExtractor(HTMLParser):
    """Turns HTML into readable text: blocks become lines, links keep their address."""

    _HIDDEN = {"head", "script", "style", "title"}
    _BLOCKS = {"address", "article", "blockquote", "dd", "div", "dl", "dt", "figure", "footer", "form", "h1",
               "h2", "h3", "h4", "h5", "h6", "header", "hr", "main", "nav", "ol", "p", "pre", "section",
               "table", "ul"}  # fmt: skip

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden = 0
        self._links: list[tuple[str, int]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag in self._HIDDEN:
            self._hidden += 1
        elif tag in self._BLOCKS:
            self.parts.append("\n\n")
        elif tag in {"br", "tr"}:
            self.parts.append("\n")
        elif tag == "li":
            self.parts.append("\n- ")
        elif tag in {"td", "th"}:
            self.parts.append(" ")
        elif tag == "img" and attributes.get("alt"):
            self.handle_data(attributes["alt"] or "")
        elif tag == "a":
            self._links.append((attributes.get("href") or "", len(self.parts)))

    def handle_endtag(self, tag: str) -> None:
        if tag in self._HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        elif tag in self._BLOCKS:
            self.parts.append("\n\n")
        elif tag == "a" and self._links:
            href, start = self._links.pop()
            label = "".join(self.parts[start:]).strip()
            if href.startswith(("http://", "https://")) and href != label:
                self.parts.append(f" ({href})")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(re.sub(r"\s+", " ", data))


def html_to_text(html: str) -> str:
    """The words of an HTML text, with paragraphs as blank lines and links' addresses in brackets."""
    extractor = _TextExtractor()
    extractor.feed(html)
    extractor.close()
    lines = [line.strip() for line in "".join(extractor.parts).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def looks_like_html(source: str) -> bool:
    """Whether a template's source is HTML: it closes a tag, or breaks a line as HTML does."""
    return bool(re.search(r"</[a-zA-Z][a-zA-Z0-9]*\s*>|<br\s*/?>|<!doctype html", source, re.IGNORECASE))
