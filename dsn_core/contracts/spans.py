"""Spans of time (``"90s"``, ``"15m"``, ``"2h"``, ``"30d"``, ``"4w"``) and rates of sending (``"30/s"``) as text."""

from __future__ import annotations

import datetime
import math
import re
from dataclasses import dataclass
from typing import Final

from dsn_core.exceptions import ConfigurationError

#: Characters of a span, at most.
MAX_SPAN_LENGTH: Final = 7

_UNITS_OF_SPANS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
#: The longest span, so that today plus or minus a span stays a valid date.
_LONGEST: Final = datetime.timedelta(days=36_500)
_SPAN: Final = re.compile(r"([0-9]{1,6})([smhdw])\Z")

#: Seconds of each unit, by all its spellings.
_UNITS_OF_RATES: Final = {
    **dict.fromkeys(("s", "sec", "second"), 1.0),
    **dict.fromkeys(("m", "min", "minute"), 60.0),
    **dict.fromkeys(("h", "hour"), 3_600.0),
    **dict.fromkeys(("d", "day"), 86_400.0),
}
_RATE: Final = re.compile(r"\s*(\d{1,9})\s*/\s*([a-z]+)\s*\Z", re.IGNORECASE)

#: Messages are released in steps of this length. With shorter steps, each claim would hold one message only, and a busy
#: machine would miss many of them.
STEP_SECONDS: Final = 0.2


def parse_span(text: str) -> datetime.timedelta:
    """The span of time that ``text`` says: a whole number and one of the units s, m, h, d and w; a century at most.

    Raises :class:`~dsn_core.exceptions.ConfigurationError`.
    """
    found = _SPAN.match(text.strip().lower()) if isinstance(text, str) else None
    if found is None:
        raise ConfigurationError(f"{text!r} is no span of time; write 90s, 15m, 2h, 30d or 4w.")
    span = datetime.timedelta(**{_UNITS_OF_SPANS[found[2]]: int(found[1])})
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


@dataclass(frozen=True)
class Rate:
    """``count`` messages in ``seconds``."""

    count: int
    seconds: float

    @classmethod
    def parse(cls, text: str) -> Rate | None:
        """The rate that ``text`` says (``"30/s"``, ``"20/min"``, ``"500/h"``, ``"10000/d"``); None for an empty one.

        Raises :class:`~dsn_core.exceptions.ConfigurationError`.
        """
        if not text.strip():
            return None
        found = _RATE.match(text)
        seconds = _UNITS_OF_RATES.get(found[2].lower()) if found else None
        if found is None or seconds is None or int(found[1]) == 0:
            raise ConfigurationError(
                f"{text!r} is no rate: write a number of messages and a unit of time, such as 30/s, 20/min, 500/h."
            )
        return cls(int(found[1]), seconds)

    @property
    def interval(self) -> float:
        """Seconds between two messages."""
        return self.seconds / self.count

    @property
    def step(self) -> int:
        """How many messages may be sent at once, so that the rate is kept in each of its units of time."""
        return max(1, min(math.ceil(STEP_SECONDS / self.interval), self.count))
