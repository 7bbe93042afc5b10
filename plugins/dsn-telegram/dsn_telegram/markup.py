"""Turns the parts of a message into what Telegram can show.

In between stands a list of :class:`Run`: pieces of text, each with the tags that it stands in. Text is cut
there, where no tag can break, and becomes Telegram's HTML (or plain text) afterwards.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from dsn_core.kit import Element, clean_text, read_html


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
#: The elements that may mean something to it.
_MEANT: Final = frozenset({*_SAME, "a", "span", "tg-emoji"})
#: Addresses that Telegram opens.
_LINK: Final = re.compile(r"(?:https?|ftp|tg)://\S+", re.IGNORECASE)
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
    runs: list[Run] = []
    elements: tuple[Element, ...] = ()
    tags: tuple[Tag, ...] = ()
    for piece in read_html(clean_text(source), bullet="• ", keeps=_MEANT, opens=_LINK.fullmatch):
        if piece.elements is not elements:
            elements, tags = piece.elements, _tags(piece.elements)
        runs.append(Run(piece.text, tags))
    return runs


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


def _meaning(element: Element, now: Sequence[Tag]) -> Tag | None:
    """What an element means to Telegram within the tags ``now``; None when it means nothing there."""
    tag, attributes = element
    if tag == "code" and now and now[-1].name == "pre":
        language = _LANGUAGE.search(attributes.get("class", ""))
        return Tag("code", f' class="{html.escape(language[0])}"') if language else None
    if any(found.name in _BARE for found in now):
        return None
    if tag == "a":
        href = attributes.get("href", "").strip()
        return Tag("a", f' href="{html.escape(href)}"') if _LINK.fullmatch(href) else None
    if tag == "tg-emoji":
        emoji = attributes.get("emoji-id", "")
        return Tag("tg-emoji", f' emoji-id="{emoji}"') if emoji.isdigit() else None
    if tag == "span":
        return Tag("tg-spoiler") if "tg-spoiler" in attributes.get("class", "").split() else None
    name = _SAME[tag]
    if name in _BARE and any(found.name != "blockquote" for found in now):
        # Telegram wants code to stand alone: what is around it would be refused.
        return None
    return Tag(name, " expandable" if tag == "blockquote" and "expandable" in attributes else "")


def _tags(elements: Iterable[Element]) -> tuple[Tag, ...]:
    found: list[Tag] = []
    for element in elements:
        tag = _meaning(element, found)
        if tag is not None and all(tag.name != other.name for other in found):
            found.append(tag)
    return tuple(found)


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
