"""Secrets that are not shown: texts that are masked when printed, and errors as they are logged."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

_SHOWN: Final = "'***'"

Mask = Callable[[str], str]

#: Errors that led to one another, at most.
_LONGEST_CHAIN: Final = 10


class Secret(str):
    """A text whose ``repr`` does not show it: error reports print the ``repr`` of each local variable."""

    __slots__ = ()

    def __repr__(self) -> str:
        return _SHOWN


class SecretBytes(bytes):
    """:class:`Secret` for bytes."""

    def __repr__(self) -> str:
        return _SHOWN


def hide(value: Any) -> Any:
    """``value`` with each text and each bytes in it masked when printed; dicts and lists are copied."""
    if type(value) is str:
        return Secret(value)
    if type(value) is bytes:
        return SecretBytes(value)
    return _in_container(value, hide)


def reveal(value: Any) -> Any:
    """The value that :func:`hide` was given."""
    if type(value) is Secret:
        return str(value)
    if type(value) is SecretBytes:
        return bytes(value)
    return _in_container(value, reveal)


def _in_container(value: Any, change: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: change(item) for key, item in value.items()}
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(change(item) for item in value)
    return value


def unmasked(text: str) -> str:
    """The mask for a caller without secrets: ``text`` as it is."""
    return text


def said_by(error: BaseException) -> str:
    """The text of ``error``, or a note where its own ``__str__`` raises."""
    try:
        return str(error)
    except Exception:
        return "its text cannot be made"


def exc_info(error: BaseException, mask: Mask = unmasked) -> Any:
    """``error`` with its traceback, without secrets, as ``logging`` takes it for ``exc_info``."""
    shown = masked(error, mask)
    return type(shown), shown, shown.__traceback__


def masked(error: BaseException, mask: Mask = unmasked) -> BaseException:
    """``error`` itself, or an error of the same name without secrets where it, or an error that led to it, has some."""
    text = "".join(traceback.format_exception(error))
    return error if mask(text) == text else _stand_in(error, mask, _LONGEST_CHAIN)


def _stand_in(error: BaseException, mask: Mask, left: int) -> BaseException:
    text = mask(said_by(error))
    base = Exception if isinstance(error, Exception) else BaseException
    names = {"__module__": type(error).__module__, "__qualname__": type(error).__qualname__}
    made: BaseException = type(type(error).__name__, (base,), names)(text).with_traceback(error.__traceback__)
    for note in getattr(error, "__notes__", ()):
        made.add_note(mask(str(note)))
    if left:
        made.__cause__ = None if error.__cause__ is None else _stand_in(error.__cause__, mask, left - 1)
        made.__context__ = None if error.__context__ is None else _stand_in(error.__context__, mask, left - 1)
    made.__suppress_context__ = error.__suppress_context__
    return made


def causes_of(error: BaseException | None, *, hidden: bool = True) -> Iterator[BaseException]:
    """The error, and what it came from, one after the other: ``any(isinstance(e, OSError) for e in causes_of(error))``.

    With ``hidden`` also what ``raise ... from None`` hides: it tells what kind of error it was.
    """
    for _ in range(_LONGEST_CHAIN):
        if error is None:
            return
        yield error
        hides = error.__suppress_context__ and not hidden
        error = error.__cause__ or (None if hides else error.__context__)
