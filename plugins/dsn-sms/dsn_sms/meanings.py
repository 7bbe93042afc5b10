"""Maps errors of providers to receipts."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

from dsn_core import Receipt
from dsn_core.kit import CONFIGURATION_PAUSE

#: Seconds for which the messenger pauses when the provider says "too many requests" and not for how long.
THROTTLE_PAUSE: Final = 5.0


class Meaning(enum.StrEnum):
    """What an error means. The values stand in tables and in the option ``ERRORS``."""

    #: This message will never be sent: its text, its country, or this sender to this number. The number stays good.
    PERMANENT = "permanent"
    #: Not sent, and may work later.
    TRANSIENT = "transient"
    #: This number cannot get messages, or its owner refuses them (STOP).
    ADDRESS = "address"
    #: No message of the account can be sent before its settings are mended: the whole messenger pauses.
    CONFIGURATION = "configuration"
    #: Not sent, since the account sent too many at once: the whole messenger pauses for a moment.
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

    ``tables`` has codes, and statuses as ``"HTTP 403"``. Of what is in no table, a 5xx is *unknown* (the provider may
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
            return Receipt.retry(after, reason=reason)
        case Meaning.THROTTLED:
            return Receipt.pause(THROTTLE_PAUSE if after is None else after, reason=reason)
        case Meaning.CONFIGURATION:
            return Receipt.pause(CONFIGURATION_PAUSE, reason=reason)
        case Meaning.UNKNOWN:
            return Receipt.unknown(reason)
