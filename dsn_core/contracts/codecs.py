"""Codecs: plugin classes that store arguments of a signal in events and read them back."""

from __future__ import annotations

from typing import Any, ClassVar

from dsn_core.contracts.naming import Named, not_overridden, require_override
from dsn_core.exceptions import ContractError


class BaseCodec(Named):
    """Turns values of one type into JSON data and back.

    ::

        class MoneyCodec(BaseCodec):
            name = "money"
            python_type = Money

            def encode(self, value):
                return [str(value.amount), str(value.currency)]

            def decode(self, data):
                return Money(*data)

    ``encode`` returns what :mod:`json` can write, without secrets. ``decode`` must accept the data of every earlier
    version of the plugin, and must not import what the data names.
    """

    #: The type, with its subclasses, that it encodes.
    python_type: ClassVar[Any] = None
    #: Whether ``encode`` returns a summary, such as a dict or list, that replaces the value. It is stored like an
    #: argument of the signal, without entries whose names sound secret, and is not decoded.
    is_summary: ClassVar[bool] = False
    _must_override = ("encode",)

    def encode(self, value: Any) -> Any:
        """Return JSON data for ``value``."""
        raise not_overridden(self, "encode")

    def decode(self, data: Any) -> Any:
        """Return the value that ``data`` encodes."""
        raise not_overridden(self, "decode")

    @classmethod
    def check_contract(cls) -> None:
        super().check_contract()
        if not cls.is_summary:
            require_override(cls, BaseCodec, "decode")
        if not isinstance(cls.python_type, type):
            where = f"{cls.__module__}.{cls.__qualname__}"
            raise ContractError(f"{where}.python_type is {cls.python_type!r}; it is a class.")
