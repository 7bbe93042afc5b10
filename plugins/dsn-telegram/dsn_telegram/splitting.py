"""Cuts a text into pieces that Telegram takes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

#: UTF-16 units that one message may have, and the caption of a photo or document. After the tags are taken off.
MESSAGE_UNITS: Final = 4096
CAPTION_UNITS: Final = 1024

_PARAGRAPH: Final = re.compile(r"\n[ \t]*\n\s*")
_LINE: Final = re.compile(r"\n")
_WORD: Final = re.compile(r"\s+")
_ZWJ: Final = "\u200d"


def units(text: str) -> int:
    """The length of ``text`` as Telegram counts it."""
    return len(text) + sum(character > "\uffff" for character in text)


def pieces(text: str, limit: int = MESSAGE_UNITS) -> Iterator[tuple[int, int]]:
    """Where the pieces of ``text`` begin and end; none is longer than ``limit`` units, none is empty.

    Cut between two paragraphs, else lines, else words, else signs that belong together (an emoji of several
    code points is one). White space at a cut is left out.
    """
    start, end = 0, len(text)
    while start < end and text[start].isspace():
        start += 1
    while start < end:
        reach = _reach(text, start, limit)
        if reach == end:
            yield start, end
            return
        cut, following = _cut(text, start, reach)
        yield start, cut
        start = following


def _reach(text: str, start: int, limit: int) -> int:
    """The farthest place from ``start`` that ``limit`` units reach."""
    end = min(start + limit, len(text))
    excess = units(text[start:end]) - limit
    while excess > 0:
        end -= 1
        excess -= 2 if text[end] > "\uffff" else 1
    return end


def _cut(text: str, start: int, reach: int) -> tuple[int, int]:
    """Where a piece ends that begins at ``start`` and cannot go beyond ``reach``, and where the next begins."""
    half = start + (reach - start) // 2
    # A short piece for the sake of a paragraph or line would look torn; a word is worth it.
    for separator, earliest in ((_PARAGRAPH, half), (_LINE, half), (_WORD, start)):
        last = None
        for found in separator.finditer(text, earliest):
            if found.start() > reach:
                break
            if found.start() > start:
                last = found
        if last is not None:
            return last.start(), last.end()
    cut = reach
    while cut > start + 1 and _belongs(text, cut):
        cut -= 1
    # Nothing but one endless cluster: cut it anyway.
    cut = cut if not _belongs(text, cut) else reach
    return cut, cut


def _belongs(text: str, at: int) -> bool:
    """Whether the sign at ``at`` belongs to the one before it."""
    if not 0 < at < len(text):
        return False
    before, sign = text[at - 1], text[at]
    if before == _ZWJ or sign == _ZWJ or unicodedata.category(sign) in {"Mn", "Me", "Mc"}:
        return True
    if "\U0001f3fb" <= sign <= "\U0001f3ff" or "\U000e0020" <= sign <= "\U000e007f":
        return True
    if _is_regional(sign) and _is_regional(before):
        # Flags are pairs: count how many stand before.
        count = 0
        while at - 1 - count >= 0 and _is_regional(text[at - 1 - count]):
            count += 1
        return count % 2 == 1
    return before == "\r" and sign == "\n"


def _is_regional(sign: str) -> bool:
    return "\U0001f1e6" <= sign <= "\U0001f1ff"
