"""What an error of a provider means for the message: tables of codes, and what they lead to."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

from django.utils import timezone

from dsn_core import Receipt

#: Seconds the messenger rests when somebody must mend the settings or the account.
CONFIGURATION_PAUSE: Final = 300.0
#: Seconds it rests when the provider says "too many requests" and not for how long.
THROTTLE_PAUSE: Final = 5.0
#: However long a provider asks for.
LONGEST_PAUSE: Final = 86_400.0


class Meaning(enum.StrEnum):
    """What an error means. The values stand in tables and in the option ``ERRORS``."""

    #: This message will never be sent: its text, its country, or this sender to this number. The number stays good.
    PERMANENT = "permanent"
    #: Not sent, and may work later.
    TRANSIENT = "transient"
    #: This number cannot get messages, or its owner refuses them (STOP).
    ADDRESS = "address"
    #: No message of the account can be sent before its settings are mended: the whole messenger rests.
    CONFIGURATION = "configuration"
    #: Not sent, since the account sent too many at once: the whole messenger rests for a moment.
    THROTTLED = "throttled"
    #: It may have been sent.
    UNKNOWN = "unknown"


#: What an answer's status means where no table knows better.
BY_STATUS: Final[Mapping[int, Meaning]] = {
    401: Meaning.CONFIGURATION,
    402: Meaning.CONFIGURATION,
    407: Meaning.CONFIGURATION,
    408: Meaning.TRANSIENT,
    425: Meaning.TRANSIENT,
    429: Meaning.THROTTLED,
}


def meaning_of(tables: Mapping[str, Meaning], code: str, status: int) -> Meaning:
    """What an answer with the HTTP ``status`` and the provider's own ``code`` (may be empty) means.

    ``tables`` has codes, and statuses as ``"HTTP 403"``. Of what nobody knows, a 5xx is *unknown* (the provider may
    have taken the message before it broke down), a redirect says that the address in the settings is wrong, and
    anything else is permanent.
    """
    if found := tables.get(code) or tables.get(f"HTTP {status}") or BY_STATUS.get(status):
        return found
    if status >= 500:
        return Meaning.UNKNOWN
    return Meaning.CONFIGURATION if 300 <= status < 400 else Meaning.PERMANENT


def receipt_of(meaning: Meaning, reason: str, after: float | None = None) -> Receipt:
    """The receipt that an error leads to. ``after``: seconds that the provider asks to wait."""
    match meaning:
        case Meaning.PERMANENT:
            return Receipt.failed(reason)
        case Meaning.ADDRESS:
            return Receipt.invalid_address(reason)
        case Meaning.TRANSIENT:
            return Receipt.retry(after, reason)
        case Meaning.THROTTLED:
            return Receipt.pause(THROTTLE_PAUSE if after is None else after, reason)
        case Meaning.CONFIGURATION:
            return Receipt.pause(CONFIGURATION_PAUSE, reason)
        case Meaning.UNKNOWN:
            return Receipt.unknown(reason)


def seconds_of(retry_after: str | None) -> float | None:
    """A ``Retry-After`` header in seconds, given as a number or as a date; None when it says nothing."""
    if not retry_after:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            moment = parsedate_to_datetime(retry_after)
        except ValueError:
            return None
        if moment.tzinfo is None:
            return None
        seconds = (moment - timezone.now()).total_seconds()
    return min(max(seconds, 1.0), LONGEST_PAUSE) if math.isfinite(seconds) else None
