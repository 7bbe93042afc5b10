"""Conversion of HTML to text, for the text parts of e-mails, for SMS and for chats."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from dsn_core.contracts.html_tokens import RAW, attributes, tokens, unescape

#: How deep kept elements are nested at most. Deeper ones are left out; their text stays.
MAX_DEPTH: Final = 32

#: Elements whose markup is not shown. Not the head: in HTML5 it ends, with or without its end tag, at the first content
#: that can be shown, and its other elements are hidden wherever they are.
_HIDDEN: Final = frozenset({"datalist", "template"})
#: The line breaks before and after an element: with two there is an empty line.
_BREAKS: Final = dict.fromkeys((
    "address", "article", "aside", "blockquote", "dl", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5",
    "h6", "header", "hr", "main", "nav", "ol", "p", "pre", "section", "table", "ul",
), 2) | dict.fromkeys(("dd", "div", "dt", "figcaption", "li", "tr"), 1)  # fmt: skip
#: Elements that have no end tag.
_VOID: Final = frozenset({
    "area", "base", "basefont", "bgsound", "br", "col", "embed", "frame", "hr", "img", "input", "link", "meta", "param",
    "source", "track", "wbr",
})  # fmt: skip
#: The white space of HTML: not the non-breaking space.
_SPACE: Final = re.compile(r"[ \t\n\f\r]+")
_WEB: Final = re.compile(r"(?:https?|ftp)://\S+", re.IGNORECASE)
_NAMED: Final = re.compile(r"(?:mailto|tel|sms):([^?]+)", re.IGNORECASE)
_PUNCTUATION: Final = re.compile(r"[\s()/.-]+")


class Element(NamedTuple):
    """An element around a text."""

    name: str
    attributes: Mapping[str, str]


class Piece(NamedTuple):
    """A shown text, and the kept elements around it, the outermost first."""

    text: str
    elements: tuple[Element, ...] = ()


def read_html(
    source: str,
    *,
    bullet: str = "- ",
    keeps: Collection[str] = (),
    opens: Callable[[str], Any] = lambda href: None,
) -> list[Piece]:
    """The text of the HTML ``source``, valid or not, in pieces that make the text when they are joined.

    Paragraphs are separated by empty lines, list items begin with ``bullet`` or their number, an image becomes its
    alternative text, and a link's target (a web or mail address, a telephone number) follows it in brackets; not for a
    link for which ``opens(href)`` is true: the reader can follow it.

    ``keeps`` names the elements that :attr:`Piece.elements` lists. Takes linear time; raises nothing for any text.
    """
    reader = _Reader(bullet, frozenset(keeps), opens)
    for kind, text, name in tokens(source.replace("\r\n", "\n").replace("\r", "\n")):
        if kind == "text":
            reader.data(unescape(text))
        elif kind == "start":
            reader.start(name, text)
        else:
            reader.end(name)
    return reader.result()


def html_to_text(source: str) -> str:
    """The text of an HTML source, with blank lines between paragraphs and links' addresses in brackets."""
    text = "".join(piece.text for piece in read_html(source)).replace("\N{NO-BREAK SPACE}", " ")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in text.split("\n"))).strip()


class _Reader:
    def __init__(self, bullet: str, keeps: frozenset[str], opens: Callable[[str], Any]) -> None:
        self._bullet, self._keeps, self._opens = bullet, keeps, opens
        self._pieces: list[Piece] = []
        #: How many elements of each name are open, and how many of those to keep are nested too deep.
        self._open: Counter[str] = Counter()
        self._too_deep: Counter[str] = Counter()
        self._elements: tuple[Element, ...] = ()
        #: The number of the next item, of each open list; None where items have none.
        self._lists: list[int | None] = []
        #: The target of the open link, and the number of its first piece.
        self._link: tuple[str, int] | None = None
        self._hidden = 0
        # The line breaks and the space that go before the next text.
        self._breaks = 0
        self._space = False
        self._begins_pre = False

    def result(self) -> list[Piece]:
        """The pieces, without white space behind the last word."""
        self._end_link()
        while self._pieces and not self._pieces[-1].text.strip():
            self._pieces.pop()
        if self._pieces:
            self._pieces[-1] = self._pieces[-1]._replace(text=self._pieces[-1].text.rstrip())
        return self._pieces

    def start(self, name: str, text: str) -> None:
        if name in _HIDDEN:
            self._hidden += 1
        if self._hidden or name in RAW:
            return
        if name not in _VOID:
            self._open[name] += 1
        self._break(1 if self._lists and name in {"ol", "ul"} else _BREAKS.get(name, 0))
        if name in {"td", "th"}:
            self._space = True
        elif name == "br":
            self._line_break()
        elif name == "img":
            self.data(attributes(text).get("alt", ""))
        elif name in {"ol", "ul"}:
            self._lists.append(1 if name == "ol" else None)
        elif name == "li":
            self._put(self._marker())
        elif name == "a":
            self._end_link()
            self._link = attributes(text).get("href", "").strip(), len(self._pieces)
        if name in self._keeps:
            self._keep(name, text)
        self._begins_pre = name == "pre"

    def end(self, name: str) -> None:
        if name in _HIDDEN:
            self._hidden = max(self._hidden - 1, 0)
        elif self._hidden:
            return
        elif name == "br":
            self._line_break()
        elif self._open[name]:
            self._open[name] -= 1
            self._close(name)
        elif name == "p":
            # In HTML5 a lone </p> is an empty paragraph.
            self._break(2)

    def data(self, text: str) -> None:
        if self._hidden or not text:
            return
        if self._open["pre"]:
            self._put(text.removeprefix("\n") if self._begins_pre else text)
            self._begins_pre = False
            return
        words = _SPACE.sub(" ", text)
        self._space = self._space or words.startswith(" ")
        if stripped := words.strip(" "):
            self._put(stripped)
            self._space = words.endswith(" ")

    def _close(self, name: str) -> None:
        if name == "a":
            self._end_link()
        if name in self._keeps:
            self._drop(name)
        if name in {"ol", "ul"} and self._lists:
            self._lists.pop()
        self._break(min(_BREAKS.get(name, 0), 1 if self._lists else 2))

    def _keep(self, name: str, text: str) -> None:
        if name == "a":
            # A link in a link ends the outer one.
            self._elements = tuple(element for element in self._elements if element.name != "a")
        if len(self._elements) < MAX_DEPTH:
            self._elements = (*self._elements, Element(name, attributes(text)))
        else:
            self._too_deep[name] += 1

    def _drop(self, name: str) -> None:
        """Remove the innermost ``name``, and no element inside it: so ``<b>a<i>b</b>c</i>`` is shown."""
        if self._too_deep[name]:
            self._too_deep[name] -= 1
            return
        for index in range(len(self._elements) - 1, -1, -1):
            if self._elements[index].name == name:
                self._elements = (*self._elements[:index], *self._elements[index + 1 :])
                return

    def _put(self, text: str) -> None:
        if self._pieces and (self._breaks or self._space):
            self._pieces.append(Piece("\n" * self._breaks or " ", self._shared()))
        self._breaks, self._space = 0, False
        if text:
            self._pieces.append(Piece(text, self._elements))

    def _shared(self) -> tuple[Element, ...]:
        """The elements that the text before and the text to come have in common."""
        pairs = zip(self._pieces[-1].elements, self._elements, strict=False)
        return tuple(before for before, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))

    def _break(self, count: int) -> None:
        self._breaks = max(self._breaks, count)

    def _line_break(self) -> None:
        if self._open["pre"]:
            self._put("\n")
        else:
            self._breaks = min(self._breaks + 1, 2)

    def _marker(self) -> str:
        if not self._lists or (number := self._lists[-1]) is None:
            return self._bullet
        self._lists[-1] = number + 1
        return f"{number}. "

    def _end_link(self) -> None:
        """Write the open link's target, if the reader cannot follow the link and its text does not say it."""
        if self._link is None:
            return
        (href, start), self._link = self._link, None
        target = _target(href)
        label = "".join(piece.text for piece in self._pieces[start:]).strip()
        if not label and (target or self._opens(href)):
            self._put(target or href)
        elif target and not self._opens(href) and not _says(label, target):
            due = self._breaks, self._space
            self._breaks, self._space = 0, True
            self._put(f"({target})")
            self._breaks, self._space = due


def _target(href: str) -> str:
    """The part of a link's target that is useful to a reader; empty for relative addresses and scripts."""
    if found := _NAMED.match(href):
        return unquote(found[1]).strip()
    return href if _WEB.fullmatch(href) else ""


def _says(label: str, target: str) -> bool:
    if _WEB.fullmatch(target):
        return label == target
    return target in label or _PUNCTUATION.sub("", target) in _PUNCTUATION.sub("", label)
