"""A messenger's typed options, read from ``DSN["MESSENGERS"][alias]``."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeVar
from urllib.parse import quote

from dsn_core.contracts.spans import Rate
from dsn_core.exceptions import ConfigurationError, nearest
from dsn_core.masking import Mask, Secret, exc_info, hide, reveal, unmasked

OptionsT = TypeVar("OptionsT", bound="Options")

#: Options of earlier versions, and what they are called now.
_RENAMED: Final = {"LANES": "CONNECTIONS"}

_SECRET = "dsn_secret"  # noqa: S105 - the name of a mark


def secret(*, default: Any = dataclasses.MISSING) -> Any:
    """A field whose value is never shown: masked in ``repr``, in ``dsn_plugins`` and in checks.

    Its texts are ``str`` whose ``repr`` is ``'***'``, also for local variables in an error report.
    """
    return dataclasses.field(default=default, repr=False, metadata={_SECRET: True})


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options that every messenger has. Subclass it as a frozen dataclass to add more::

        @dataclass(frozen=True, kw_only=True)
        class TelegramOptions(Options):
            BOT_TOKEN: str = secret()                 # no default: must be set
            API_BASE: str = "https://telegram.example"

    Names are in capitals, as in Django's settings. ``manage.py dsn_plugins`` reports unknown names, missing ones and
    values of the wrong type.
    """

    #: Seconds that one call of the provider may take.
    TIMEOUT: float = 10.0
    #: How many messages all workers together may send: ``"30/s"``, ``"500/h"``. Empty: any number.
    RATE: str = ""
    #: How many connections to the provider one worker process keeps busy. The worker sends so many batches at the same
    #: time, or leaves it to a messenger that is :attr:`~dsn_core.BaseMessenger.concurrent`.
    CONNECTIONS: int = 1

    #: The most that ``CONNECTIONS`` may be. The worker's are threads with a connection to the database each.
    MOST_CONNECTIONS: ClassVar[int] = 32

    @property
    def rate(self) -> Rate | None:
        """:attr:`RATE`, parsed; None for any number."""
        return Rate.parse(self.RATE)

    @classmethod
    def from_mapping(cls: type[OptionsT], values: Mapping[str, Any]) -> OptionsT:
        """Build the options, or raise :class:`~dsn_core.exceptions.ConfigurationError` with all that is wrong."""
        problems = cls.problems(values)
        if problems:
            raise ConfigurationError("; ".join(problems))
        secrets = cls._secrets()
        return cls(**{name: hide(value) if name in secrets else reveal(value) for name, value in values.items()})

    def __post_init__(self) -> None:
        for name in self._secrets():
            object.__setattr__(self, name, hide(getattr(self, name)))

    @classmethod
    def _secrets(cls) -> list[str]:
        return [field.name for field in dataclasses.fields(cls) if field.metadata.get(_SECRET)]

    @classmethod
    def problems(cls, values: Mapping[str, Any]) -> list[str]:
        """What is wrong with ``values``, one sentence each, without showing any value."""
        fields = {field.name: field for field in dataclasses.fields(cls)}
        hints = typing.get_type_hints(cls)
        found = [_unknown(name, fields) for name in values if name not in fields]
        for name, field in fields.items():
            check = _OF_ALL.get(name, _nothing_wrong)
            if name not in values:
                if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                    found.append(f"{name} is missing")
                else:
                    # A subclass may have given it another type, or a default that cannot work.
                    found.append(check(cls, field.default))
                continue
            is_secret = bool(field.metadata.get(_SECRET))
            value = hide(values[name]) if is_secret else reveal(values[name])
            if wrong := check(cls, value):
                found.append(wrong)
            elif not _fits(value, hints[name]):
                found.append(f"{name} must be {_spell(hints[name])}, not {type(reveal(value)).__name__}")
            elif is_secret and value == "":
                found.append(f"{name} is empty")
        return list(filter(None, found))

    def mask(self, text: str) -> str:
        """``text`` without the values of secret options: for errors of providers and libraries."""
        spellings: set[str] = set()
        for name in self._secrets():
            for secret_text in _texts(getattr(self, name)):
                # As it is, and as it is quoted in a URL.
                spellings.update(map(Secret, (secret_text, quote(secret_text), quote(secret_text, safe=""))))
        # The longest first, since one may contain another.
        for spelling in sorted(spellings, key=len, reverse=True):
            text = text.replace(spelling, "***")
        return text

    def exc_info(self, error: BaseException, *, also: Mask = unmasked) -> Any:
        """``error`` and its traceback without the values of secret options: for ``logger.error(..., exc_info=...)``.

        ``also`` takes out of its texts what else is secret, such as passwords that are in other settings.
        """
        return exc_info(error, lambda text: also(self.mask(text)))


def _unknown(name: str, known: Iterable[str]) -> str:
    if name in _RENAMED and name not in known:
        return f"{name} is called {_RENAMED[name]} now"
    return f"{name} is not an option{nearest(name, known)}"


def _nothing_wrong(cls: type[Options], value: Any) -> str:
    return ""


def _wrong_timeout(cls: type[Options], value: Any) -> str:
    if not _fits(value, float):
        return f"TIMEOUT must be float, not {type(value).__name__}"
    if not 0 < value < math.inf:
        return "TIMEOUT must be more than 0 seconds: without one, a provider that hangs holds up a worker"
    return ""


def _wrong_connections(cls: type[Options], value: Any) -> str:
    is_right = _fits(value, int) and 1 <= value <= cls.MOST_CONNECTIONS
    return "" if is_right else f"CONNECTIONS must be a number from 1 to {cls.MOST_CONNECTIONS}"


def _wrong_rate(cls: type[Options], value: Any) -> str:
    if not isinstance(value, str):
        return f"RATE must be text, such as '30/s', not {type(value).__name__}"
    try:
        Rate.parse(value)
    except ConfigurationError as error:
        return f"RATE: {str(error).rstrip('.')}"
    return ""


#: What is wrong with the value of an option that every messenger has; empty for nothing.
_OF_ALL: Final[Mapping[str, Callable[[type[Options], Any], str]]] = {
    "TIMEOUT": _wrong_timeout,
    "CONNECTIONS": _wrong_connections,
    "RATE": _wrong_rate,
}


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, str | bytes):
        for item in value:
            yield from _texts(item)
    elif value not in (None, "", b"", True, False):
        yield Secret(value.decode("utf-8", "replace") if isinstance(value, bytes) else value)


def _fits(value: object, hint: Any) -> bool:
    origin = typing.get_origin(hint)
    if hint is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in typing.get_args(hint))
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    kind = origin or hint
    if kind is float:
        kind = (int, float)
    if isinstance(value, bool) and kind is not bool:
        return False
    if kind is Sequence and isinstance(value, str):
        return False
    return isinstance(value, kind)


def _spell(hint: Any) -> str:
    if hint is type(None):
        return "None"
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(_spell(option) for option in typing.get_args(hint))
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(repr(option) for option in typing.get_args(hint))
    return getattr(hint, "__name__", str(hint)) if typing.get_origin(hint) is None else str(hint)
