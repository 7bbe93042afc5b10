"""Finds attributes of a plugin class that are nearly named as its contract says, and that nothing would read."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator
from types import CodeType
from typing import Any, Final

#: How much alike two names are (1: the same) from which on one is taken for the other.
_ALIKE: Final = 0.8


def near_misses(cls: type, base: type) -> Iterator[tuple[str, str]]:
    """The names that ``cls`` gives to attributes, each with the name of ``base`` that was probably meant.

    Only what nothing reads is one: not what has an underscore before it, what the author's own code uses, or what
    stands beside the right name. Of ``cls`` and of its parents in the same package.
    """
    known = {name: _sort(inspect.getattr_static(base, name)) for name in dir(base) if not name.startswith("_")}
    package = cls.__module__.partition(".")[0]
    authors = [
        parent
        for parent in cls.__mro__
        if parent.__module__.partition(".")[0] == package and parent not in base.__mro__ and parent is not base
    ]
    own = {name: value for parent in reversed(authors) for name, value in vars(parent).items()}
    used: set[str] | None = None
    for name, value in own.items():
        if name.startswith("_") or name in known:
            continue
        candidates = [other for other, sort in known.items() if other not in own and sort == _sort(value)]
        if not (found := difflib.get_close_matches(name, candidates, n=1, cutoff=_ALIKE)):
            continue
        if used is None:
            used = {used_name for item in own.values() for code in _codes(item) for used_name in _names_in(code)}
        if name not in used:
            yield name, found[0]


def _sort(value: Any) -> str:
    if isinstance(value, type):
        return "class"
    return "method" if isinstance(value, classmethod | staticmethod) or inspect.isroutine(value) else "value"


def _codes(value: Any) -> Iterator[CodeType]:
    """The code of a method or property, under its decorators too."""
    for part in (value.fget, value.fset, value.fdel) if isinstance(value, property) else (value,):
        function = getattr(part, "__func__", part)
        code = getattr(inspect.unwrap(function) if callable(function) else function, "__code__", None)
        if isinstance(code, CodeType):
            yield code


def _names_in(code: CodeType) -> Iterator[str]:
    """The names that ``code`` and the functions within it use."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)
        elif isinstance(constant, str):
            # getattr(self, "name")
            yield constant
