"""Makes a message's text ready for SMS: cleaned, in the cheaper encoding where possible, and short enough."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from dsn_core.kit import clean_text, place_to_cut
from dsn_sms.encoding import measure

#: Typographic characters that GSM-7 lacks, and what says the same in it.
PLAIN: Final = str.maketrans(
    {
        # Single quotation marks, primes, accents that stand alone.
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032`\u00b4\u02bc\u2039\u203a", "'"),
        # Double ones.
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
        # Hyphens, dashes, minus.
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        # Blanks of other widths.
        **dict.fromkeys("\t\u00a0\u202f\u205f\u3000", " "),
        **dict.fromkeys(map(chr, range(0x2000, 0x200B)), " "),
        # Invisible: soft hyphen, zero-width space, word joiner, byte-order mark.
        **dict.fromkeys("\u00ad\u200b\u2060\ufeff", ""),
        # Bullets.
        **dict.fromkeys("\u2022\u00b7\u2023", "-"),
        "\u2026": "...",
        "\u2044": "/",
        "\u2116": "No",
        "\u2122": "TM",
        "\u00a9": "(c)",
        "\u00ae": "(R)",
        "\u2192": "->",
        "\u2190": "<-",
    }
)
#: Unicode's category Cc, but for tabulator and line feed.
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_BLANK: Final = re.compile("[ \n]")
#: How much of the text must be left where it is cut between two words. A "word" of which a third would be lost is a
#: link, or a language that has no blanks.
_SHARE: Final = 2 / 3


class TooLong(ValueError):
    """A text that takes more segments or characters than it may. Its text says how many."""


def clean(text: str) -> str:
    """``text`` with line ends as ``\\n``, composed characters, and without what no phone can show.

    Control characters vanish (form feed, too), and halves of surrogate pairs become U+FFFD.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n\n")
    text = _CONTROL.sub("", clean_text(text))
    return unicodedata.normalize("NFC", text).strip()


def without_typography(text: str) -> str:
    """``text`` with plain characters for typographic ones, if that lets it travel in GSM-7; else as it is.

    A text that needs UCS-2 anyway keeps its quotation marks: nothing is gained by taking them.
    """
    plain = text.translate(PLAIN)
    return plain if measure(plain).encoding == "GSM-7" else text


def fit(text: str, *, segments: int, characters: int, cut: bool) -> str:
    """``text`` if it takes no more than ``segments`` and ``characters``; else cut, if ``cut``.

    A cut text ends with an ellipsis, and is cut between two words where there are any.
    Raises :class:`TooLong`.
    """
    if _fits(text, segments, characters):
        return text
    size = measure(text)
    if not cut:
        raise TooLong(
            f"The text has {len(text)} characters and takes {size.segments} segments of {size.encoding}; "
            f"{segments} segments and {characters} characters are allowed."
        )
    ellipsis = "..." if size.encoding == "GSM-7" else "…"
    fewest, most = 0, min(len(text), characters)
    while fewest < most:
        middle = (fewest + most + 1) // 2
        if _fits(text[:middle] + ellipsis, segments, characters):
            fewest = middle
        else:
            most = middle - 1
    return text[: place_to_cut(text, fewest, between=[(_BLANK, _SHARE)])].rstrip() + ellipsis


def _fits(text: str, segments: int, characters: int) -> bool:
    return len(text) <= characters and measure(text).segments <= segments
