"""Tokenizer for HTML, valid or not: text, start tags and end tags.

Follows HTML5's rules for tags, comments and raw text, in linear time: the parser of the standard library needs seconds
for some 60 kB of broken markup.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

#: Elements that contain only text, which is not shown.
RAW: Final = frozenset({"iframe", "noembed", "noframes", "script", "style", "title"})

_MARKUP: Final = re.compile(r"<(?:(?P<slash>/?)(?P<name>[a-zA-Z][^\t\n\f\r />]*)|(?P<comment>!--)|[!?/])")
# The rest of a tag. A quote counts only at the start of a value. Possessive: an unclosed tag is read only once.
_REST: Final = re.compile(r"""(?:[^>=]|=[\t\n\f\r ]*(?:"[^"]*"|'[^']*'|(?!["'])))*+>""")
_UP_TO_BRACKET: Final = re.compile(r"[^>]*+>")
_COMMENT_END: Final = re.compile(r"--!?>")
_RAW_END: Final = {name: re.compile(rf"</{name}(?=[\t\n\f\r />])", re.IGNORECASE) for name in RAW}
_ATTRIBUTE: Final = re.compile(
    r"""([^\t\n\f\r />=]+)(?:[\t\n\f\r ]*=[\t\n\f\r ]*(?:"([^"]*)"|'([^']*)'|([^\t\n\f\r >]*)))?"""
)
# More digits than Python converts to a number, and no character in any case.
_ENDLESS_NUMBER: Final = re.compile(r"&#[0-9]{1000,};?")


class Token(NamedTuple):
    """``kind`` is ``text``, ``start`` or ``end``; ``text`` the text, or the content of the tag after its name."""

    kind: str
    text: str
    name: str = ""


def tokens(source: str) -> Iterator[Token]:
    """The tokens of ``source``, in order, without comments and the content of raw elements."""
    at, rest = 0, _REST
    while (found := _MARKUP.search(source, at)) is not None:
        if found.start() > at:
            yield Token("text", source[at : found.start()])
        at = found.end()
        if found["comment"]:
            if source.startswith((">", "->"), at):
                at = source.index(">", at) + 1
                continue
            end = _COMMENT_END.search(source, at)
            if end is None:
                return
            at = end.end()
            continue
        pattern = rest if found["name"] else _UP_TO_BRACKET
        end = pattern.match(source, at)
        if end is None and pattern is _REST:
            # A value's quote is never closed: from here on, a tag ends at its bracket. Decided once; otherwise each
            # of many such tags would be read to the end of the source.
            rest = _UP_TO_BRACKET
            end = rest.match(source, at)
        if end is None:
            yield Token("text", source[found.start() :])
            return
        at = end.end()
        if not found["name"]:
            continue
        name = found["name"].lower()
        yield Token("end" if found["slash"] else "start", source[found.end() : at - 1], name)
        if name in RAW and not found["slash"]:
            closing = _RAW_END[name].search(source, at)
            if closing is None:
                return
            at = closing.start()
    if at < len(source):
        yield Token("text", source[at:])


def attributes(text: str) -> dict[str, str]:
    """The attributes in the text of a start tag. The first of several with the same name counts."""
    found: dict[str, str] = {}
    for name, *values in _ATTRIBUTE.findall(text):
        found.setdefault(name.lower(), unescape("".join(values)))
    return found


def unescape(text: str) -> str:
    if "&" not in text:
        return text
    return html.unescape(_ENDLESS_NUMBER.sub("\N{REPLACEMENT CHARACTER}", text))
