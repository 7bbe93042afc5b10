"""Rates of sending, such as ``"30/s"``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

from dsn_core.exceptions import ConfigurationError

#: Seconds of each unit, by all its spellings.
_UNITS: Final = {
    **dict.fromkeys(("s", "sec", "second"), 1.0),
    **dict.fromkeys(("m", "min", "minute"), 60.0),
    **dict.fromkeys(("h", "hour"), 3_600.0),
    **dict.fromkeys(("d", "day"), 86_400.0),
}
_RATE: Final = re.compile(r"\s*(\d{1,9})\s*/\s*([a-z]+)\s*\Z", re.IGNORECASE)

#: Messages are released in steps of this length. With shorter steps, each claim would hold one message only, and a busy
#: machine would miss many of them.
STEP_SECONDS: Final = 0.2


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
        seconds = _UNITS.get(found[2].lower()) if found else None
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
