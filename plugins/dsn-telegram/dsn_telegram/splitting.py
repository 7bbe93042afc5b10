"""Cuts a text into pieces that Telegram takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dsn_core.kit import LINE, PARAGRAPH, WORD, place_to_cut, without_leading_space

#: UTF-16 units that one message may have, and the caption of a photo or document. After the tags are taken off.
MESSAGE_UNITS: Final = 4096
CAPTION_UNITS: Final = 1024

#: Between what it is cut, the best first, and how much of a piece must be left for it. A short piece for the sake of a
#: paragraph or line would look torn; a word is worth it.
_BETWEEN: Final = ((PARAGRAPH, 0.5), (LINE, 0.5), (WORD, 0.0))


def units(text: str) -> int:
    """The length of ``text`` as Telegram counts it."""
    return len(text) + sum(character > "\uffff" for character in text)


def pieces(text: str, limit: int = MESSAGE_UNITS) -> Iterator[tuple[int, int]]:
    """Where the pieces of ``text`` begin and end; none is longer than ``limit`` units, none is empty.

    Cut between two paragraphs, else lines, else words, else grapheme clusters, and never within one of those: what
    looks like one sign stays one, however many code points it has. White space at a cut is left out.
    """
    start, end = without_leading_space(text, 0), len(text)
    while start < end:
        reach = _reach(text, start, limit)
        if reach == end:
            yield start, end
            return
        cut = place_to_cut(text, reach, start, between=_BETWEEN)
        yield start, cut
        start = without_leading_space(text, cut)


def _reach(text: str, start: int, limit: int) -> int:
    """The farthest place from ``start`` that ``limit`` units reach."""
    end = min(start + limit, len(text))
    excess = units(text[start:end]) - limit
    while excess > 0:
        end -= 1
        excess -= 2 if text[end] > "\uffff" else 1
    return end
