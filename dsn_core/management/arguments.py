"""Types of the commands' arguments."""

from __future__ import annotations

import argparse
import datetime

from dsn_core.contracts.spans import parse_span
from dsn_core.exceptions import ConfigurationError


def span(text: str) -> datetime.timedelta:
    """A span of time as an operator types it: ``90s``, ``15m``, ``2h``, ``30d``, ``4w``. For argparse's ``type``."""
    try:
        return parse_span(text)
    except ConfigurationError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def positive(text: str) -> int:
    """A whole number from 1. For argparse's ``type``."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1.")
    return int(text)
