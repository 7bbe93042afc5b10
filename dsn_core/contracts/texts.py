"""Cleaning of texts, so that every provider, database and encoding accepts them."""

from __future__ import annotations

import re
from typing import Final

_NOT_STORABLE: Final = re.compile("[\0\ud800-\udfff]")


def clean_text(text: str) -> str:
    """``text`` in a form that can be encoded, sent and stored everywhere.

    A surrogate pair becomes its character, half a pair becomes U+FFFD, NUL is removed.
    """
    # Quicker than the search, and most texts that are not ASCII need that one.
    if (text.isascii() and "\0" not in text) or not _NOT_STORABLE.search(text):
        return text
    return text.replace("\0", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
