"""Regular expressions with a bounded worst case.

An operator's pattern is searched for in the code that fired a signal. Python's engine backtracks, which takes
exponential time for ``(a+)+$``. So a pattern that could need more than :data:`MAX_STEPS` steps on a text of
:data:`MAX_TEXT` characters is refused when it is configured.
"""

from __future__ import annotations

import functools
import re
from typing import Any, Final, NamedTuple

from dsn_core._django import regex_codes as codes
from dsn_core._django import regex_parser as parser
from dsn_core.exceptions import ConfigurationError

#: Characters of a text that are searched.
MAX_TEXT: Final = 500
#: Steps of a search, at most; some ten milliseconds.
MAX_STEPS: Final = 5_000_000
#: Characters of a pattern, at most.
MAX_PATTERN: Final = 255

_ONE_WAY: Final = frozenset(
    {codes.LITERAL, codes.NOT_LITERAL, codes.ANY, codes.IN, codes.AT, codes.RANGE, codes.CATEGORY}
)
_ADVICE: Final = (
    "Begin it with ^, use fewer * and +, give them bounds as in .{0,20}, and put none inside a repeated group."
)


class BoundedPattern:
    """A compiled pattern that searches only the beginning of a text."""

    __slots__ = ("_search",)

    def __init__(self, pattern: str) -> None:
        self._search = re.compile(pattern).search

    def search(self, text: str) -> bool:
        """Whether the pattern is found in the first :data:`MAX_TEXT` characters of ``text``."""
        return self._search(text[:MAX_TEXT]) is not None


@functools.lru_cache(maxsize=1_000)
def bounded(pattern: str) -> BoundedPattern:
    """``pattern``, compiled. Raises :class:`~dsn_core.exceptions.ConfigurationError` if it is refused."""
    if len(pattern) > MAX_PATTERN:
        raise ConfigurationError(f"The pattern is longer than {MAX_PATTERN} characters.")
    try:
        tree = parser.parse(pattern)
        compiled = BoundedPattern(pattern)
    except (re.error, OverflowError, RecursionError, Warning) as error:
        raise ConfigurationError(f"{pattern!r} is no regular expression: {error}.") from error
    items = list(tree)
    anchored = bool(items) and items[0] in ((codes.AT, codes.AT_BEGINNING), (codes.AT, codes.AT_BEGINNING_STRING))
    starts = 1 if anchored and not tree.state.flags & re.MULTILINE else MAX_TEXT
    effort = _of_sequence(items)
    if starts * effort.ways * effort.length > MAX_STEPS:
        raise ConfigurationError(f"The pattern {pattern!r} could take too long to search for. {_ADVICE}")
    return compiled


class _Effort(NamedTuple):
    """The worst-case cost of matching from one position; numbers are cut at MAX_STEPS + 1."""

    #: The number of ways to match.
    ways: int
    #: The number of steps in one way, with each repeat at its least count.
    length: int


def _of_sequence(items: Any) -> _Effort:
    ways = length = 1
    for code, argument in items:
        effort = _of(code, argument)
        ways = min(ways * effort.ways, MAX_STEPS + 1)
        length = min(length + effort.length, MAX_STEPS + 1)
    return _Effort(ways, length)


def _of(code: Any, argument: Any) -> _Effort:
    if code in _ONE_WAY:
        return _Effort(1, 1)
    if code is codes.SUBPATTERN:
        return _of_sequence(argument[-1])
    if code is codes.ATOMIC_GROUP:
        return _of_sequence(argument)
    if code is codes.BRANCH:
        branches = [_of_sequence(branch) for branch in argument[1]]
        return _Effort(sum(branch.ways for branch in branches), max(branch.length for branch in branches))
    if code in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
        least, most, body = argument
        effort = _of_sequence(body)
        length = min(max(int(least), 1) * effort.length, MAX_STEPS + 1)
        return _Effort(_repeated(effort.ways, int(least), min(int(most), MAX_TEXT)), length)
    raise ConfigurationError(f"The pattern uses {str(code).lower().replace('_', ' ')}, which is not supported here.")


def _repeated(ways: int, least: int, most: int) -> int:
    if ways == 1:
        return max(most - least, 0) + 1
    total = 0
    for times in range(least, most + 1):
        total += ways**times if times * ways.bit_length() < 64 else MAX_STEPS + 1
        if total > MAX_STEPS:
            return MAX_STEPS + 1
    return max(total, 1)
