"""Texts that every provider, database and encoding takes."""

from __future__ import annotations

import re
from typing import Final

_NOT_STORABLE: Final = re.compile("[\0\ud800-\udfff]")


def clean_text(text: str) -> str:
    """``text`` as it can be encoded, sent and stored everywhere: for messengers, and for what providers say.

    Two halves of a surrogate pair become the character that they are, one alone becomes U+FFFD. NUL is removed.
    """
    # Quicker than the search, and most texts that are not ASCII need that one.
    if (text.isascii() and "\0" not in text) or not _NOT_STORABLE.search(text):
        return text
    return text.replace("\0", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
