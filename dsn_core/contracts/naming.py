"""The base of the classes of plugins: their names, and which methods they override."""

from __future__ import annotations

import inspect
import re
from typing import ClassVar

from dsn_core.exceptions import ContractError

#: Names are stored in columns of this length.
MAX_NAME_LENGTH = 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*\Z")


class Named:
    """A class that rows and settings refer to by ``name``.

    ``name`` defaults to the class's own name. It is stored in rows, so that renaming it is a
    breaking change of the plugin. ``description`` defaults to the docstring's first line.
    """

    name: str = ""
    description: str = ""
    # The base class of a contract names the methods of which one must be overridden.
    _must_override: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__
        if "description" not in cls.__dict__:
            cls.description = first_line(cls.__doc__)

    @classmethod
    def check_contract(cls) -> None:
        """Raise :class:`~dsn_core.exceptions.ContractError` when the class cannot work.

        Called once, when a plugin registers the class. Extend it in a base class with further requirements.
        """
        check_name(cls.name, f"{cls.__module__}.{cls.__qualname__}.name")
        for parent in reversed(cls.__mro__):
            if methods := vars(parent).get("_must_override"):
                require_override(cls, parent, *methods)
                break


def check_name(name: object, where: str) -> None:
    """Raise :class:`~dsn_core.exceptions.ContractError` unless ``name`` can stand in a row."""
    if not isinstance(name, str) or not _NAME.match(name) or len(name) > MAX_NAME_LENGTH:
        raise ContractError(
            f"{where} is {name!r}; a name is 1 to {MAX_NAME_LENGTH} letters, digits, '_', '-' or '.', "
            "and begins with a letter or digit."
        )


def first_line(docstring: str | None) -> str:
    return inspect.cleandoc(docstring).partition("\n")[0].strip() if docstring else ""


def overrides(cls: type, base: type, method: str) -> bool:
    """Whether ``cls`` has its own ``method`` instead of that of ``base``."""
    return inspect.getattr_static(cls, method) is not inspect.getattr_static(base, method)


def require_override(cls: type, base: type, *methods: str) -> None:
    """Raise :class:`~dsn_core.exceptions.ContractError` unless one of ``methods`` is overridden."""
    if not any(overrides(cls, base, method) for method in methods):
        names = " nor ".join(f"{method}()" for method in methods)
        raise ContractError(
            f"{cls.__module__}.{cls.__qualname__} overrides {'neither ' if len(methods) > 1 else 'no '}{names}: "
            f"it would do nothing. Override {' or '.join(f'{method}()' for method in methods)}."
        )
    for method in methods:
        function = getattr(cls, method)
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise ContractError(
                f"{cls.__module__}.{cls.__qualname__}.{method}() is async, and would never be awaited: runners call it "
                "in a thread. Make it a plain function (asgiref's async_to_sync calls async code from there)."
            )


def not_overridden(instance: object, method: str) -> ContractError:
    """The error for a method that a subclass must override."""
    return ContractError(f"{type(instance).__module__}.{type(instance).__qualname__} does not override {method}().")
