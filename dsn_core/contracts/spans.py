"""Spans of time as text: ``"90s"``, ``"15m"``, ``"2h"``, ``"30d"``, ``"4w"``."""

from __future__ import annotations

import datetime
import re
from typing import Final

from dsn_core.exceptions import ConfigurationError

#: Characters of a span, at most.
MAX_SPAN_LENGTH: Final = 7

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
#: The longest span, so that today plus or minus a span stays a valid date.
_LONGEST: Final = datetime.timedelta(days=36_500)
_SPAN: Final = re.compile(r"([0-9]{1,6})([smhdw])\Z")


def parse_span(text: str) -> datetime.timedelta:
    """The span of time that ``text`` says: a whole number and one of the units s, m, h, d and w; a century at most.

    Raises :class:`~dsn_core.exceptions.ConfigurationError`.
    """
    found = _SPAN.match(text.strip().lower()) if isinstance(text, str) else None
    if found is None:
        raise ConfigurationError(f"{text!r} is no span of time; write 90s, 15m, 2h, 30d or 4w.")
    span = datetime.timedelta(**{_UNITS[found[2]]: int(found[1])})
    if span > _LONGEST:
        raise ConfigurationError(f"{text!r} is longer than a century.")
    return span


def parse_expiry(text: str) -> datetime.timedelta | None:
    """:func:`parse_span` for an expiry: an empty text is None (never), and a span of 0 is refused.

    Raises :class:`~dsn_core.exceptions.ConfigurationError`.
    """
    if text == "":
        return None
    span = parse_span(text)
    if not span:
        raise ConfigurationError(
            f"{text!r} would let every message expire before it is sent; leave it empty for never."
        )
    return span
