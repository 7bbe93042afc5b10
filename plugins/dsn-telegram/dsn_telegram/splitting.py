"""Cuts a text into pieces that Telegram takes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Final

import regex

#: UTF-16 units that one message may have, and the caption of a photo or document. After the tags are taken off.
MESSAGE_UNITS: Final = 4096
CAPTION_UNITS: Final = 1024

_PARAGRAPH: Final = re.compile(r"\n[ \t]*\n\s*")
_LINE: Final = re.compile(r"\n")
_WORD: Final = re.compile(r"\s+")
#: A grapheme cluster (UAX #29).
_CLUSTER: Final = regex.compile(r"\X")


def units(text: str) -> int:
    """The length of ``text`` as Telegram counts it."""
    return len(text) + sum(character > "\uffff" for character in text)


def pieces(text: str, limit: int = MESSAGE_UNITS) -> Iterator[tuple[int, int]]:
    """Where the pieces of ``text`` begin and end; none is longer than ``limit`` units, none is empty.

    Cut between two paragraphs, else lines, else words, else grapheme clusters, and never within one of those: what
    looks like one sign stays one, however many code points it has. White space at a cut is left out.
    """
    start, end = _past_space(text, 0), len(text)
    while start < end:
        reach = _reach(text, start, limit)
        if reach == end:
            yield start, end
            return
        cut = _cut(text, start, reach)
        yield start, cut
        start = _past_space(text, cut)


def _reach(text: str, start: int, limit: int) -> int:
    """The farthest place from ``start`` that ``limit`` units reach."""
    end = min(start + limit, len(text))
    excess = units(text[start:end]) - limit
    while excess > 0:
        end -= 1
        excess -= 2 if text[end] > "\uffff" else 1
    return end


def _cut(text: str, start: int, reach: int) -> int:
    """Where a piece ends that begins at ``start`` and cannot go beyond ``reach``."""
    found_ends = (found.end() for found in _CLUSTER.finditer(text, start))
    ends = list(itertools.takewhile(lambda end: end <= reach, found_ends))
    if not ends:
        # Nothing but one endless cluster: cut it anyway.
        return reach
    whole = frozenset(ends)
    half = start + (reach - start) // 2
    # A short piece for the sake of a paragraph or line would look torn; a word is worth it.
    for separator, earliest in ((_PARAGRAPH, half), (_LINE, half), (_WORD, start)):
        places = itertools.takewhile(lambda at: at <= reach, (m.start() for m in separator.finditer(text, earliest)))
        if last := max((at for at in places if at in whole), default=None):
            return last
    return ends[-1]


def _past_space(text: str, at: int) -> int:
    """The first place from ``at`` on where no white space begins. With an accent on it, it is none."""
    while (found := _CLUSTER.match(text, at)) and found[0].isspace():
        at = found.end()
    return at
