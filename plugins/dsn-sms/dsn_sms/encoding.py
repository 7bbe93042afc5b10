"""Finds the encoding of a text (GSM-7 or UCS-2), and the number of its segments."""

from __future__ import annotations

import re
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


_GSM_7: Final = re.compile(f"[{re.escape(''.join(BASIC | EXTENSION))}]*")
_EXTENDED: Final = re.compile(f"[{re.escape(''.join(EXTENSION))}]")


def encoding_of(text: str) -> Encoding:
    """GSM-7 when every character is in its alphabet or extension table, else UCS-2."""
    return "GSM-7" if _GSM_7.fullmatch(text) else "UCS-2"


def measure(text: str) -> Size:
    """How ``text`` travels. Characters of two units are never divided between two segments."""
    encoding = encoding_of(text)
    if encoding == "GSM-7":
        units = len(text) + len(_EXTENDED.findall(text))
    else:
        units = len(text.encode("utf-16-le", "surrogatepass")) // 2
    segments = 1 if units <= ALONE[encoding] else _segments(text, encoding)
    return Size(encoding, units, segments)


def _segments(text: str, encoding: Encoding) -> int:
    segments, left = 1, EACH[encoding]
    for character in text:
        takes = _takes(character, encoding)
        if takes > left:
            segments, left = segments + 1, EACH[encoding]
        left -= takes
    return segments


def _takes(character: str, encoding: Encoding) -> int:
    """The units of one character: one or two."""
    if encoding == "GSM-7":
        return 2 if character in EXTENSION else 1
    return 2 if character > "\uffff" else 1
