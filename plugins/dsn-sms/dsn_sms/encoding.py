"""How a text travels: in GSM-7 or UCS-2, and in how many segments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

#: The default alphabet of GSM 03.38 (3GPP TS 23.038), one septet each.
BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    "ÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyz" + "äöñüà"
)
#: Its extension table: an escape and the character, two septets.
EXTENSION: Final = frozenset("\f^{}\\[~]|€")

Encoding = Literal["GSM-7", "UCS-2"]

#: Units of one message that is alone, and of one segment of several (which begins with a header of six octets).
ALONE: Final[dict[Encoding, int]] = {"GSM-7": 160, "UCS-2": 70}
EACH: Final[dict[Encoding, int]] = {"GSM-7": 153, "UCS-2": 67}


@dataclass(frozen=True)
class Size:
    """How a text travels. ``units`` are septets of GSM-7, or UTF-16 code units of UCS-2."""

    encoding: Encoding
    units: int
    segments: int


def encoding_of(text: str) -> Encoding:
    """GSM-7 when every character is in its alphabet or extension table, else UCS-2."""
    return "GSM-7" if all(character in BASIC or character in EXTENSION for character in text) else "UCS-2"


def units_of(character: str, encoding: Encoding) -> int:
    """What one character takes: one or two units."""
    if encoding == "GSM-7":
        return 2 if character in EXTENSION else 1
    return 2 if ord(character) > 0xFFFF else 1


def measure(text: str) -> Size:
    """How ``text`` travels. Characters of two units are never divided between two segments."""
    encoding = encoding_of(text)
    costs = [units_of(character, encoding) for character in text]
    units = sum(costs)
    segments = 1 if units <= ALONE[encoding] else _segments(costs, EACH[encoding])
    return Size(encoding, units, segments)


def _segments(costs: Iterable[int], room: int) -> int:
    segments, left = 1, room
    for cost in costs:
        if cost > left:
            segments, left = segments + 1, room
        left -= cost
    return segments
