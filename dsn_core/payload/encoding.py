"""From what a signal said to JSON text."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import functools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from django.db.models import Field, Model, QuerySet
from django.db.models.manager import BaseManager
from django.db.utils import Error as DatabaseTrouble
from django.utils.functional import LazyObject, Promise, empty

from dsn_core import conf
from dsn_core.contracts.activities import ActivityView
from dsn_core.database_errors import is_conflict
from dsn_core.payload import sensitive, snapshots
from dsn_core.plugins.registry import registry

#: Nesting beyond this becomes a placeholder.
MAX_NESTING: Final = 20
#: A queryset of more rows becomes a placeholder: its keys are read in the caller.
MAX_ROWS: Final = 1_000
#: Characters of a target that are stored when all is too large; triggers compare at most 255.
MAX_TARGET: Final = 255
#: Characters of ASCII JSON that one character of a text may take.
MAX_WIDTH: Final = 12

#: Types (exactly these) whose values are JSON already; and those of which each value is.
_SIMPLE: Final = frozenset({type(None), bool, int, float, str})
_PLAIN: Final = _SIMPLE - {float}


class _TooLarge(Exception):
    """An argument that would not fit however the others shrink."""


def dump(activity: ActivityView) -> str:
    """``activity`` as ASCII JSON text of at most ``MAX_PAYLOAD_BYTES``.

    An object that plays several parts, or is several arguments, is stored once and referred to. Whatever cannot
    be stored, or is too large, becomes a placeholder that says what it was. A queryset, and an argument that is
    computed on access, may run queries; raises what the database raises then, and nothing else for any value.
    """
    settings = conf.current()
    limit = settings.MAX_PAYLOAD_BYTES
    encoder = _Encoder(sensitive.names(settings), limit)
    texts = {f"kwargs.{name}": encoder.argument(name, activity) for name in activity.signal_kwargs}
    for part in ("sender", "action_object", "actor_object"):
        texts[part] = encoder.part(part, activity)
    texts["target"] = _json(activity.target)
    text = _joined(texts, activity)
    if len(text) > limit:
        _shrink(texts, activity, encoder, len(text) - limit)
        text = _joined(texts, activity)
    return text


def _joined(texts: Mapping[str, str], activity: ActivityView) -> str:
    arguments = ",".join([f"{_quoted(name)}:{texts[f'kwargs.{name}']}" for name in activity.signal_kwargs])
    parts = ",".join([f'"{name}":{texts[name]}' for name in ("sender", "action_object", "actor_object", "target")])
    return f'{{"kwargs":{{{arguments}}},{parts}}}'


#: ASCII JSON text of plain data. Made once: ``json.dumps`` makes an encoder for each call.
_json: Final[Callable[[Any], str]] = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode

# Of arguments, which signals send again and again.
_quoted: Final = functools.lru_cache(maxsize=1_024)(_json)
_is_never_stored: Final = functools.lru_cache(maxsize=1_024)(sensitive.is_sensitive)


def _shrink(texts: dict[str, str], activity: ActivityView, encoder: _Encoder, excess: int) -> None:
    """Shorten the largest pieces until ``excess`` characters are saved."""
    for name in sorted(texts, key=lambda key: len(texts[key]), reverse=True):
        for shorter in _shorter(name, len(texts[name]), activity, encoder):
            if excess > 0 and (saved := len(texts[name]) - len(shorter)) > 0:
                excess -= saved
                texts[name] = shorter
        if excess <= 0:
            return


def _shorter(name: str, size: int, activity: ActivityView, encoder: _Encoder) -> Iterator[str]:
    """What may stand for the piece ``name`` of ``size`` characters, the best first."""
    if name == "target":
        yield _json(activity.target[:MAX_TARGET])
        return
    value = getattr(activity, name) if "." not in name else activity.signal_kwargs[name[7:]]
    if isinstance(value, Model):
        # Its key and its short columns are worth more than none of it.
        yield _Encoder(encoder.secrets, encoder.limit // 8).text(value)
    yield _json(placeholder(value, f"too large to store, {size} bytes"))


def placeholder(value: object, why: str) -> dict[str, str]:
    """What stands for a value that is not stored."""
    return {"$": "placeholder", "v": f"{type(value).__name__}: {why}"}


class _Encoder:
    """Encodes one activity; what one argument may have of the text is bounded while it is encoded."""

    def __init__(self, secrets: frozenset[str], limit: int) -> None:
        self.secrets = secrets
        self.limit = limit
        self.left = limit

    def argument(self, name: str, activity: ActivityView) -> str:
        """The JSON text of the signal's argument ``name``, which may be the object that an earlier one is."""
        value = activity.signal_kwargs[name]
        if _is_never_stored(name, self.secrets):
            return '""'
        if type(value) not in _SIMPLE:
            arguments = activity.signal_kwargs.items()
            same = (other for other, argument in arguments if argument is value)
            if (first := next(other for other in same if not _is_never_stored(other, self.secrets))) != name:
                return _json({"$": "argument", "v": first})
        return self.text(value)

    def part(self, part: str, activity: ActivityView) -> str:
        """The JSON text of one part of the activity, which may be one of its arguments or its sender."""
        value = getattr(activity, part)
        if value is not None:
            for name, argument in activity.signal_kwargs.items():
                if argument is value:
                    return _json({"$": "argument", "v": name})
            if value is activity.sender and part != "sender":
                return '{"$":"sender"}'
        return self.text(value)

    def text(self, value: Any) -> str:
        """The JSON text of ``value``, or of a placeholder."""
        if value is None or value is True or value is False:
            # Most arguments of Django's signals.
            return "null" if value is None else "true" if value else "false"
        self.left = self.limit
        try:
            return _json(self.encode(value))
        except _TooLarge:
            return _json(placeholder(value, f"too large to store, more than {self.limit} bytes"))
        except Exception as error:
            if _is_the_databases(error):
                raise
            # A codec's data that is no JSON, a number of more digits than Python writes.
            return _json(placeholder(value, f"cannot be stored, {type(error).__name__}"))

    def encode(self, value: Any, nesting: int = 0) -> Any:
        """``value`` as JSON data. What raises on the way becomes a placeholder, unless it is the database.

        An error of the database may have cost a transaction, which is not ours to hide.
        """
        kind = type(value)
        self.left -= _size(value)
        if self.left < 0:
            raise _TooLarge
        if kind in _PLAIN:
            return value
        if kind is float:
            return value if math.isfinite(value) else {"$": "float", "v": repr(value)}
        if nesting >= MAX_NESTING:
            return placeholder(value, "nested too deeply to store")
        try:
            return self._object(value, nesting)
        except _TooLarge:
            raise
        except Exception as error:
            if _is_the_databases(error):
                raise
            return placeholder(value, f"cannot be stored, {type(error).__name__}")

    def _object(self, value: Any, nesting: int) -> Any:
        if isinstance(value, LazyObject):
            return self.encode(_unwrapped(value), nesting)
        if isinstance(value, Model) and snapshots.is_known(value._meta.label_lower):
            return self._instance(value, nesting)
        if isinstance(value, bytes | bytearray | memoryview) and _length(value) > self.left:
            # Before it is copied.
            raise _TooLarge
        if (codec := registry.codec_for(value)) is not None:
            data = codec.encode(value)
            self.left -= len(_json(data))
            return {"$codec": codec.name, "v": data}
        if isinstance(value, enum.Enum):
            return self.encode(value.value, nesting + 1)
        if isinstance(value, type):
            return _class(value)
        if isinstance(value, str | Promise):
            return self.encode(str.__str__(value) if isinstance(value, str) else str(value), nesting)
        if isinstance(value, int | float):
            return self.encode(int(value) if isinstance(value, int) else float(value), nesting)
        if isinstance(value, bytearray | memoryview):
            return self.encode(bytes(value), nesting)
        if isinstance(value, BaseManager | QuerySet):
            return self._queryset(value if isinstance(value, QuerySet) else value.all(), nesting)
        if dataclasses.is_dataclass(value):
            value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        if isinstance(value, Mapping):
            return self._mapping(value, nesting)
        if isinstance(value, list):
            return self._items(value, nesting)
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            # A named tuple: it has fields, and one of them may be a password.
            value = tuple(
                "" if sensitive.is_sensitive(name, self.secrets) else item
                for name, item in zip(value._fields, value, strict=False)
            )
        if isinstance(value, tuple | set | frozenset):
            return {"$": "tuple" if isinstance(value, tuple) else "set", "v": self._items(value, nesting)}
        return placeholder(value, "cannot be stored")

    def _items(self, values: Iterable[Any], nesting: int) -> list[Any]:
        return [self.encode(item, nesting + 1) for item in values]

    def _mapping(self, value: Mapping[Any, Any], nesting: int) -> Any:
        if (summary := sensitive.request_summary(value)) is not None:
            return summary
        pairs = [(key, "" if self._is_secret(key) else self.encode(item, nesting + 1)) for key, item in value.items()]
        if all(type(key) is str and not key.startswith("$") for key, _ in pairs):
            self.left -= sum(len(key) for key, _ in pairs)
            return dict(pairs)
        return {"$": "dict", "v": [[self.encode(key, nesting + 1), item] for key, item in pairs]}

    def _is_secret(self, key: object) -> bool:
        return isinstance(key, str) and sensitive.is_sensitive(key, self.secrets)

    def _queryset(self, value: QuerySet[Any], nesting: int) -> Any:
        # Of values() and values_list() come rows that are no instances.
        are_rows = value._fields is not None  # type: ignore[attr-defined]
        found = value._result_cache
        if found is None:
            found = list((value if are_rows else value.values_list("pk", flat=True))[: MAX_ROWS + 1])
        elif not are_rows:
            # Read already: these are the rows that the sender saw.
            found = [row.pk for row in found[: MAX_ROWS + 1]]
        if len(found) > MAX_ROWS:
            return placeholder(value, f"more than {MAX_ROWS} rows are too many to store")
        if are_rows:
            return self._items(sensitive.hide_columns(found, value, self.secrets), nesting)
        items = self._items(found, nesting)
        return {"$": "queryset", "model": value.model._meta.label_lower, "db": value.db, "v": items}

    def _instance(self, instance: Model, nesting: int) -> dict[str, Any]:
        column = functools.partial(self._column, nesting=nesting + 1)
        return {"$": "instance", **snapshots.take(instance, self.secrets, column)}

    def _column(self, value: Any, field: Field[Any, Any], nesting: int) -> Any:
        """One column: at most a quarter of the text, and half of what is left of it.

        The object is worth more than its longest columns: it keeps its key and the others.
        """
        share = min(self.limit // 4, self.left // 2)
        if type(value) in _PLAIN and (size := _size(value)) <= share // MAX_WIDTH:
            # Nearly every column: surely within its share.
            self.left -= size
            return value
        if (size := _length(value, share)) > share:
            return placeholder(value, "too large to store")
        rest, self.left = self.left - share, share
        try:
            encoded = self._of_field(value, field, nesting)
            if type(value) is str:
                # What its characters take more in ASCII.
                self.left -= size - len(value)
        except _TooLarge:
            encoded, self.left = placeholder(value, "too large to store"), 0
        self.left += rest
        return encoded

    def _of_field(self, value: Any, field: Field[Any, Any], nesting: int) -> Any:
        encoded = self.encode(value, nesting)
        unknown = isinstance(encoded, dict) and encoded.get("$") == "placeholder"
        if unknown or isinstance(value, enum.Enum):
            # A field's own type, say Money: the field knows how to write it.
            prepared = None
            with contextlib.suppress(Exception):
                prepared = field.get_prep_value(value)
            if type(prepared) in (str, int, bool):
                return {"$": "field", "v": self.encode(prepared)}
        return encoded


def _is_the_databases(error: Exception) -> bool:
    """Whether ``error`` is the database's, or says in other words that the transaction must be run again."""
    return isinstance(error, DatabaseTrouble) or is_conflict(error)


def _size(value: Any) -> int:
    """About how many characters a value takes by itself, without what it holds."""
    kind = type(value)
    return len(value) if kind is str else 1 + value.bit_length() // 4 if kind is int else 1


def _length(value: Any, share: int = 0) -> int:
    """About how many characters a text or bytes take; 0 for other values, which are bounded while they are encoded.

    A character may take more than one; they are counted only where it matters to ``share``.
    """
    if isinstance(value, str):
        return len(_json(str.__str__(value))) if share // MAX_WIDTH < len(value) <= share else len(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return memoryview(value).nbytes * 4 // 3
    return 0


def _class(value: type) -> Any:
    if issubclass(value, Model) and value is not Model and snapshots.is_known(value._meta.label_lower):
        return {"$": "model", "v": value._meta.label_lower}
    return placeholder(value, f"the class {value.__qualname__}")


def _unwrapped(value: Any) -> Any:
    if value._wrapped is empty:
        value._setup()
    return value._wrapped
