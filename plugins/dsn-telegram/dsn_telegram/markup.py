"""Turns the parts of a message into what Telegram can show.

In between stands a list of :class:`Run`: pieces of text, each with the tags that it stands in. Text is cut
there, where no tag can break, and becomes Telegram's HTML (or plain text) afterwards.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Final, NamedTuple

from dsn_core import clean_text


class Tag(NamedTuple):
    """A tag of Telegram's own, with its attributes as they are written."""

    name: str
    attributes: str = ""


@dataclass(frozen=True)
class Run:
    """Text, and the tags around it, the outermost first."""

    text: str
    tags: tuple[Tag, ...] = ()


#: HTML's names, and what Telegram calls the same. Everything else becomes text.
_SAME: Final = {
    "b": "b", "strong": "b", "i": "i", "em": "i", "cite": "i", "dfn": "i", "u": "u", "ins": "u",
    "s": "s", "strike": "s", "del": "s", "code": "code", "kbd": "code", "samp": "code", "tt": "code",
    "tg-spoiler": "tg-spoiler", "blockquote": "blockquote", "pre": "pre",
    "h1": "b", "h2": "b", "h3": "b", "h4": "b", "h5": "b", "h6": "b", "th": "b",
}  # fmt: skip
#: Tags that nothing else may stand in, nor they in one another.
_BARE: Final = frozenset({"code", "pre"})
_HIDDEN: Final = frozenset({"head", "script", "style", "template", "title"})
#: Around these stands an empty line.
_BLOCKS: Final = frozenset({
    "address", "article", "aside", "blockquote", "dl", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5",
    "h6", "header", "hr", "main", "nav", "ol", "p", "pre", "section", "table", "ul",
})  # fmt: skip
#: Around these a line ends.
_LINES: Final = frozenset({"dd", "div", "dt", "figcaption", "li", "tr"})
#: Tags that are never closed.
_VOID: Final = frozenset({"br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"})
#: Addresses that Telegram opens.
_LINK: Final = re.compile(r"(?:https?|ftp|tg)://\S+", re.IGNORECASE)
#: The white space of HTML: not the non-breaking space.
_SPACE: Final = re.compile(r"[ \t\r\n\f]+")
_LANGUAGE: Final = re.compile(r"language-[\w+#.-]+")


def runs_of(*, subject: str, text: str, html: str) -> list[Run]:
    """A message's subject in bold, and below it its HTML, or else its text."""
    body = from_html(html) if html else from_text(text)
    head = " ".join(clean_text(subject).split())
    # Many templates repeat their subject as a heading: a line of its own, since "Sale" is no "Sale ends today".
    first = plain(body).lstrip().partition("\n")[0]
    if not head or " ".join(first.split()) == head:
        return body
    return [Run(head, (Tag("b"),)), *([Run("\n\n"), *body] if body else [])]


def from_text(text: str) -> list[Run]:
    """Plain text as it is."""
    shown = clean_text(text.replace("\r\n", "\n").replace("\r", "\n")).strip()
    return [Run(shown)] if shown else []


def from_html(source: str) -> list[Run]:
    """What an HTML text says, in as much of its form as Telegram can show."""
    converter = _Converter()
    converter.feed(source)
    converter.close()
    return converter.result()


def plain(runs: Iterable[Run]) -> str:
    """The text alone."""
    return "".join(run.text for run in runs)


def to_html(runs: Iterable[Run]) -> str:
    """Telegram's HTML: every tag closed in order, every text escaped."""
    parts: list[str] = []
    open_tags: list[Tag] = []
    for run in [*runs, Run("")]:
        shared = 0
        while shared < min(len(open_tags), len(run.tags)) and open_tags[shared] == run.tags[shared]:
            shared += 1
        while len(open_tags) > shared:
            parts.append(f"</{open_tags.pop().name}>")
        for tag in run.tags[shared:]:
            parts.append(f"<{tag.name}{tag.attributes}>")
            open_tags.append(tag)
        parts.append(html.escape(run.text, quote=False))
    return "".join(parts)


class _Converter(HTMLParser):
    """Reads HTML, however broken, into runs."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._runs: list[Run] = []
        #: The open tags: HTML's name, and what it means to Telegram.
        self._open: list[tuple[str, Tag | None]] = []
        self._hidden = 0
        #: Line ends and a space that are due before the next text.
        self._breaks = 0
        self._space = False
        self._lists: list[int | None] = []
        self._links: list[tuple[str, int]] = []

    def result(self) -> list[Run]:
        """The runs, with nothing but words at both ends."""
        runs = [run for run in self._runs if run.text]
        while runs and not runs[-1].text.strip():
            runs.pop()
        if runs:
            runs[-1] = Run(runs[-1].text.rstrip(), runs[-1].tags)
        return runs

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag in _HIDDEN:
            self._hidden += 1
        elif tag in _BLOCKS:
            self._break(2 if not self._lists or tag not in {"ol", "ul"} else 1)
        elif tag in _LINES:
            self._break(1)
        if tag == "br":
            self._breaks = min(self._breaks + 1, 2) if not self._in("pre") else self._breaks
            if self._in("pre"):
                self._put("\n")
        elif tag == "img":
            self.handle_data(attributes.get("alt", ""))
        elif tag in {"ol", "ul"}:
            self._lists.append(1 if tag == "ol" else None)
        elif tag == "li":
            self._put(self._bullet())
        elif tag in {"td", "th"}:
            self._space = True
        elif tag == "a":
            self._links.append((clean_text(attributes.get("href", "").strip()), len(self._runs)))
        if tag not in _VOID:
            self._open.append((tag, self._meaning(tag, attributes)))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in (name for name, _ in self._open):
            return
        if tag == "a" and self._links:
            self._end_link(*self._links.pop())
        for index in range(len(self._open) - 1, -1, -1):
            if self._open[index][0] == tag:
                del self._open[index]
                break
        if tag in _HIDDEN:
            self._hidden -= 1
        elif tag in _BLOCKS:
            if tag in {"ol", "ul"} and self._lists:
                self._lists.pop()
            self._break(1 if self._lists else 2)
        elif tag in _LINES:
            self._break(1)

    def handle_data(self, data: str) -> None:
        if self._hidden or not data:
            return
        text = clean_text(data)
        if self._in("pre"):
            self._put(text)
            return
        words = _SPACE.sub(" ", text)
        if words.startswith(" "):
            self._space, words = True, words[1:]
        trailing = words.endswith(" ")
        if words.rstrip(" "):
            self._put(words.rstrip(" "))
        self._space = self._space or trailing

    def _meaning(self, tag: str, attributes: dict[str, str]) -> Tag | None:
        """What a tag means to Telegram, where it stands; None when it means nothing there."""
        now = [found for _, found in self._open if found is not None]
        if tag == "code" and now and now[-1] == Tag("pre"):
            language = _LANGUAGE.search(attributes.get("class", ""))
            return Tag("code", f' class="{html.escape(language[0])}"') if language else None
        if any(found.name in _BARE for found in now):
            return None
        if tag == "a":
            href = attributes.get("href", "").strip()
            return Tag("a", f' href="{html.escape(clean_text(href))}"') if _LINK.fullmatch(href) else None
        if tag == "tg-emoji" and attributes.get("emoji-id", "").isdigit():
            return Tag("tg-emoji", f' emoji-id="{attributes["emoji-id"]}"')
        if tag == "span":
            return Tag("tg-spoiler") if "tg-spoiler" in attributes.get("class", "").split() else None
        name = _SAME.get(tag)
        if name is None or any(found.name == name for found in now):
            return None
        if name in _BARE and now and any(found.name != "blockquote" for found in now):
            # Telegram wants code to stand alone: what is around it would be refused.
            return None
        return Tag(name, " expandable" if tag == "blockquote" and "expandable" in attributes else "")

    def _tags(self) -> tuple[Tag, ...]:
        found: list[Tag] = []
        for _, tag in self._open:
            if tag is not None and all(tag.name != other.name for other in found):
                found.append(tag)
        return tuple(found)

    def _in(self, name: str) -> bool:
        return any(found == name for found, _ in self._open)

    def _put(self, text: str) -> None:
        if self._runs and self._breaks:
            self._runs.append(Run("\n" * self._breaks, self._shared()))
        elif self._runs and self._space:
            self._runs.append(Run(" ", self._shared()))
        self._breaks, self._space = 0, False
        self._runs.append(Run(text, self._tags()))

    def _shared(self) -> tuple[Tag, ...]:
        """The tags that the text before and the text to come have in common."""
        shared = []
        for before, after in zip(self._runs[-1].tags, self._tags(), strict=False):
            if before != after:
                break
            shared.append(before)
        return tuple(shared)

    def _break(self, count: int) -> None:
        self._breaks = max(self._breaks, count)

    def _bullet(self) -> str:
        if not self._lists or self._lists[-1] is None:
            return "• "
        number = self._lists[-1]
        self._lists[-1] = number + 1
        return f"{number}. "

    def _end_link(self, href: str, start: int) -> None:
        """Say where a link leads that Telegram does not open, or that has no words of its own."""
        label = plain(self._runs[start:]).strip()
        target = href.partition(":")[2] if href.lower().startswith(("mailto:", "tel:")) else ""
        if target and target not in label:
            self._put(f" ({target})" if label else target)
        elif not label and _LINK.fullmatch(href):
            self._put(href)


def slices(runs: Sequence[Run], cuts: Iterable[tuple[int, int]]) -> Iterator[list[Run]]:
    """The runs between each pair of places in the whole text, with their tags."""
    for start, end in cuts:
        part, at = [], 0
        for run in runs:
            text = run.text[max(start - at, 0) : max(end - at, 0)]
            if text:
                part.append(Run(text, run.tags))
            at += len(run.text)
        yield part
