"""Follows an error to what caused it, to tell what kind of trouble it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

#: Errors that led to one another, at most.
_LONGEST_CHAIN: Final = 10


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and what it came from, one after the other: ``any(isinstance(e, OSError) for e in causes_of(error))``.

    Also what was hidden by ``raise ... from None``: it tells what kind of error it was.
    """
    for _ in range(_LONGEST_CHAIN):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__
