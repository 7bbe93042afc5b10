"""Finds where a text can be cut: between paragraphs, lines or words, and never within a grapheme cluster."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from dsn_core.exceptions import missing_library

if TYPE_CHECKING:
    import regex

#: What stands between two paragraphs, two lines and two words.
PARAGRAPH: Final = re.compile(r"\n[ \t]*\n\s*")
LINE: Final = re.compile(r"\n")
WORD: Final = re.compile(r"\s+")


def cluster_ends(text: str, start: int = 0) -> Iterator[int]:
    """Where the grapheme clusters of ``text`` (UAX 29) end, from ``start`` on.

    A cluster looks like one character, however many code points it has: a letter with its accents, a family of emoji.
    Needs the extra ``text`` of dsn-core.
    """
    return (found.end() for found in _cluster().finditer(text, start))


def place_to_cut(text: str, reach: int, start: int = 0, *, between: Sequence[tuple[re.Pattern[str], float]]) -> int:
    """Where a piece of ``text`` ends that begins at ``start`` and cannot go beyond ``reach``.

    ``between`` names the best places first: a separator before which to cut, and how much of the piece must be left
    for it (0 to 1). ``[(PARAGRAPH, 0.5), (WORD, 0)]``: before the last paragraph's end in the second half, else before
    the last white space. Where there is none, the piece ends with a whole cluster; it is cut within one only if that
    is longer than the piece. Needs the extra ``text`` of dsn-core.
    """
    ends = list(itertools.takewhile(lambda end: end <= reach, cluster_ends(text, start)))
    if not ends:
        return reach
    whole = frozenset(ends)
    for separator, share in between:
        earliest = start + int((reach - start) * share)
        found = itertools.takewhile(lambda match: match.start() <= reach, separator.finditer(text, earliest))
        # White space with a combining accent does not count as white space.
        places = (match.start() for match in found if match.end() > reach or match.end() in whole)
        if last := max((at for at in places if at in whole), default=None):
            return last
    return ends[-1]


def without_leading_space(text: str, start: int) -> int:
    """The first place from ``start`` on without white space. White space with a combining accent does not count."""
    while (found := _cluster().match(text, start)) and found[0].isspace():
        start = found.end()
    return start


@functools.cache
def _cluster() -> regex.Pattern[str]:
    try:
        import regex
    except ImportError:
        raise missing_library("regex", "text") from None
    return regex.compile(r"\X")
