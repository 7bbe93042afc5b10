"""Texts that are masked when printed: secrets, on their way from the settings to the function that needs them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_SHOWN: Final = "'***'"


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
