"""Names and descriptions of plugin classes: rows store the name, lists show the description."""

from __future__ import annotations

import inspect
import re

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


def check_name(name: object, where: str) -> None:
    """Raise :class:`~dsn_core.exceptions.ContractError` unless ``name`` can stand in a row."""
    if not isinstance(name, str) or not _NAME.match(name) or len(name) > MAX_NAME_LENGTH:
        raise ContractError(
            f"{where} is {name!r}; a name is 1 to {MAX_NAME_LENGTH} letters, digits, '_', '-' or '.', "
            "and begins with a letter or digit."
        )


def first_line(docstring: str | None) -> str:
    """The first line of a docstring, or an empty string."""
    return inspect.cleandoc(docstring).partition("\n")[0].strip() if docstring else ""
