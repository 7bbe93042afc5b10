"""The ``DSN`` setting: its defaults and its validation."""

from __future__ import annotations

import functools
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from django.conf import settings

from dsn_core.exceptions import nearest
from dsn_core.masking import hide

#: Characters of an environment's name, at most.
MAX_ENVIRONMENT: Final = 100


@dataclass(frozen=True, kw_only=True)
class Settings:
    """``settings.DSN`` with every default filled in. Names are the keys of the setting."""

    #: Name of the runner that is woken up after a commit.
    RUNNER: str = "immediate"
    #: None: every installed entry point. A list: only these, each ``name`` or ``distribution:name``.
    PLUGINS: Sequence[str] | None = None
    #: The name of the environment that this process runs in, such as "production". The database remembers it.
    ENVIRONMENT: str = ""
    #: None: messages go to every address. A list: only to addresses that match a pattern of it, as ``*@example.org``.
    ONLY_TO: Sequence[str] | None = None
    #: Plugins that are not loaded, whatever their source.
    DISABLED_PLUGINS: Sequence[str] = ()
    #: Options of the messengers, by alias. Their texts are masked when printed, since any of them may be a secret.
    MESSENGERS: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    #: Where a user's address for a messenger is: ``{"sms": "profile.phone"}``, paths from the user.
    ADDRESSES: Mapping[str, str] = field(default_factory=dict)
    #: The model, one-to-one with the user, that holds the addresses without a path. Empty: there is no such model.
    PROFILE_MODEL: str = ""
    #: Path from the user to the language of their messages; empty: the site's ``LANGUAGE_CODE``.
    LANGUAGE_PATH: str = ""
    #: Path from the user to the time zone of their messages; empty: the site's ``TIME_ZONE``.
    TIME_ZONE_PATH: str = ""
    #: Seconds after which a process reads triggers that another process changed.
    REFRESH_SECONDS: float = 5
    #: Raise errors that occur while an event is recorded, instead of logging them. For tests.
    STRICT: bool = False
    #: Seconds for which the ``immediate`` runner works before it leaves the rest to a worker.
    IMMEDIATE_SECONDS: float = 5
    #: Seconds a claimed delivery or event belongs to the worker that claimed it.
    LEASE_SECONDS: float = 300
    #: How often a delivery, or the fan-out of an event, is tried before it is failed.
    MAX_ATTEMPTS: int = 16
    #: Bytes an event's payload may have; larger arguments become placeholders.
    MAX_PAYLOAD_BYTES: int = 524_288
    #: Bytes a rendered message may have, all its parts together; a larger one fails.
    MAX_MESSAGE_BYTES: int = 10_000_000
    #: How many times in a row messages may cause further messages, before that counts as a loop.
    MAX_DEPTH: int = 3
    #: Names of fields, arguments and keys whose values are never stored, in addition to names that sound secret.
    SENSITIVE_FIELDS: Sequence[str] = ()
    #: Names that sound secret but are stored, unless ``SENSITIVE_FIELDS`` names them.
    PLAIN_FIELDS: Sequence[str] = ()


#: The setting when it was last read, and the settings made from it.
_read: tuple[dict[Any, Any], Settings] = ({}, Settings())


def current() -> Settings:
    """The settings as they are now. An unusable value is replaced by its default, which a system check reports."""
    global _read  # noqa: PLW0603 - one pair, replaced whole: safe from any thread
    given = getattr(settings, "DSN", None)
    if not isinstance(given, Mapping):
        return Settings()
    held, found = _read
    # Called for each signal that matches. Compared by value, since tests change the setting in place.
    if held == given:
        return found
    usable = {name: value for name, value in given.items() if name in _hints() and not _misfit(name, value)}
    for name in ("PLUGINS", "ONLY_TO"):
        if name in given and name not in usable:
            # An allow-list that cannot be read allows nothing: its default would allow everything.
            usable[name] = ()
    kept = dict(given)
    if "MESSENGERS" in usable:
        # A copy, equal to the given dict until that is changed in place.
        usable["MESSENGERS"] = kept["MESSENGERS"] = hide(usable["MESSENGERS"])
    found = Settings(**usable)
    _read = (kept, found)
    return found


@functools.cache
def _hints() -> dict[str, Any]:
    """The type of every setting, by its name."""
    return typing.get_type_hints(Settings)


#: The least value of a number, where that is not 0, and the greatest.
_LEAST: Final = {"MAX_ATTEMPTS": 1, "LEASE_SECONDS": 0.01, "MAX_PAYLOAD_BYTES": 100, "MAX_MESSAGE_BYTES": 100}
_MOST: Final = {"LEASE_SECONDS": 30 * 86_400, "REFRESH_SECONDS": 86_400, "MAX_ATTEMPTS": 32_767, "MAX_DEPTH": 1_000}
_MOST_OF_ALL: Final = 2**31 - 1


@dataclass(frozen=True)
class Problem:
    """One error in the setting, and the way out. ``kind`` decides the id of the system check."""

    kind: Literal["not a dict", "unknown", "unusable"]
    message: str
    hint: str = ""


def problems() -> list[Problem]:
    """Everything wrong with ``settings.DSN``."""
    given = getattr(settings, "DSN", None)
    if given is None:
        return []
    if not isinstance(given, Mapping):
        message = f"The setting DSN is {type(given).__name__}, but dsn-core expects a dict."
        hint = "If another package uses the name DSN (for a connection string, say), rename that setting."
        return [Problem("not a dict", message, hint)]
    known, found = _hints(), []
    for name, value in given.items():
        if name not in known:
            message = f"DSN[{name!r}] is not a setting of dsn-core{nearest(str(name), known)}."
            found.append(Problem("unknown", message, f"The settings are {', '.join(sorted(known))}."))
        elif why := _misfit(name, value):
            found.append(Problem("unusable", f"DSN[{name!r}] {why}."))
    return found


def misfit(name: str) -> str:
    """What is wrong with the given value of the setting ``name``; empty when nothing is."""
    given = getattr(settings, "DSN", None)
    return _misfit(name, given[name]) if isinstance(given, Mapping) and name in given else ""


def _misfit(name: str, value: Any) -> str:
    hint = _hints()[name]
    if typing.get_origin(hint) is Mapping:
        return _mapping_misfit(name, value)
    least, most = _LEAST.get(name, 0), _MOST.get(name, _MOST_OF_ALL)
    is_int = isinstance(value, int) and not isinstance(value, bool)
    is_none = value is None and type(None) in typing.get_args(hint)
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    fits, wanted = {
        bool: (isinstance(value, bool), "True or False"),
        str: (isinstance(value, str), "a text"),
        int: (is_int and least <= value <= most, f"a whole number from {least} to {most}"),
        float: ((is_int or isinstance(value, float)) and least <= value <= most, f"a number from {least} to {most}"),
    }.get(hint, (is_none or (is_list and all(isinstance(item, str) for item in value)), "a list of names"))
    if not fits:
        return f"must be {wanted}, not {_shown(value)}"
    if name == "ENVIRONMENT" and not (len(value) <= MAX_ENVIRONMENT and value == value.strip() and value.isprintable()):
        return f"must be a name of at most {MAX_ENVIRONMENT} printable characters, without spaces around it"
    return ""


def _shown(value: Any) -> str:
    """The ``repr`` of a plain value, else the type's name: options put under a wrong name may hold secrets."""
    return repr(value) if value is None or isinstance(value, bool | int | float | str) else type(value).__name__


def _mapping_misfit(name: str, value: Any) -> str:
    # The values are never shown: a messenger's options hold secrets.
    inner: type = str if name == "ADDRESSES" else Mapping
    if not isinstance(value, Mapping):
        return f"must be a dict, not {type(value).__name__}"
    wrong = [key for key, item in value.items() if not isinstance(key, str) or not isinstance(item, inner)]
    if not wrong:
        return ""
    what = "a path such as 'profile.phone'" if inner is str else "a dict of options"
    return f"must hold {what} under each name, which {', '.join(map(repr, wrong))} does not"
