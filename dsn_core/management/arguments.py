"""What the commands' arguments have in common."""

from __future__ import annotations

import argparse
import datetime
import re
from typing import Final

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SPAN: Final = re.compile(r"(\d{1,6})([smhdw])\Z")


def span(text: str) -> datetime.timedelta:
    """A span of time as an operator types it: ``90s``, ``15m``, ``2h``, ``30d``, ``4w``. For argparse's ``type``."""
    found = _SPAN.match(text.strip().lower())
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no span of time; write 90s, 15m, 2h, 30d or 4w.")
    return datetime.timedelta(**{_UNITS[found[2]]: int(found[1])})


def positive(text: str) -> int:
    """A whole number from 1. For argparse's ``type``."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1.")
    return int(text)
