"""Encoding of values as JSON data of bounded size."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import functools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from django.db.models import Field, Model, QuerySet
from django.db.models.manager import BaseManager
from django.db.utils import Error as DatabaseTrouble
from django.utils.functional import LazyObject, Promise, empty

from dsn_core._django import is_interrupt
from dsn_core.database_errors import is_conflict
from dsn_core.payload import requests, rows, sensitive, snapshots
from dsn_core.payload.pieces import MAX_WIDTH, as_json, as_text, is_pair, length_of, log_once, size_of
from dsn_core.payload.placeholders import Placeholder, data_of, hidden_value, is_placeholder, placeholder
from dsn_core.plugins.registry import registry

#: Nesting beyond this becomes a placeholder.
MAX_NESTING: Final = 20
#: Types (exactly these) whose values are JSON already. Of floats, not every value is.
SIMPLE: Final = frozenset({type(None), bool, int, float, str})
_PLAIN: Final = SIMPLE - {float}


class _TooLarge(Exception):
    """An argument is larger than the whole payload may be."""


class Encoder:
    """Encodes one activity, and limits the size of each argument while it is encoded."""

    def __init__(
        self, secrets: sensitive.Names, limit: int, *, plain: Collection[str] = (), keeps_texts: bool = False
    ) -> None:
        self.secrets = secrets
        #: Arguments that are stored even if their names sound secret.
        self.plain = plain
        self.limit = limit
        self.left = limit
        #: Whether the instances are being deleted: related rows, which their texts may need, may not exist afterwards.
        self.keeps_texts = keeps_texts
        #: The name of the value that is encoded: an argument, or a field of an instance.
        self.at = ""

    def text(self, value: Any, name: str) -> str:
        """The JSON text of ``value``, named ``name`` in the event, or of a placeholder."""
        if value is None or value is True or value is False:
            # Most arguments of Django's signals.
            return "null" if value is None else "true" if value else "false"
        self.left, self.at = self.limit, name
        try:
            return as_json(self.encode(value))
        except _TooLarge:
            return as_json(placeholder(value, f"too large to store, more than {self.limit} bytes"))
        except BaseException as error:
            if _goes_on(error):
                raise
            # For example a codec's data that is not JSON, or a number with more digits than Python converts.
            log_once(value, error)
            return as_json(placeholder(value, f"cannot be stored, {type(error).__name__}"))

    def keys_text(self, value: Any) -> str | None:
        """The JSON text of a list of instances by their keys; None for other values, or if that is too large."""
        self.left = self.limit
        try:
            data = self._list_by_keys(value, 0) if isinstance(value, list | tuple) else None
        except _TooLarge:
            return None
        return None if data is None else as_json(data)

    def _placeholder(self, value: object, why: str) -> dict[str, str]:
        return placeholder(value, why, self.at)

    def encode(self, value: Any, nesting: int = 0) -> Any:
        """``value`` as JSON data. A value whose encoding raises becomes a placeholder.

        Errors of the database are raised, since they may have cost a transaction.
        """
        kind = type(value)
        self.left -= size_of(value)
        if self.left < 0:
            raise _TooLarge
        if kind in _PLAIN:
            return value
        if kind is float:
            return value if math.isfinite(value) else {"$": "float", "v": repr(value)}
        if kind is Placeholder:
            # A hidden value, or one from an event that is recorded again.
            return data_of(value)
        if nesting >= MAX_NESTING:
            return self._placeholder(value, "nested too deeply to store")
        try:
            return self._object(value, nesting)
        except _TooLarge:
            raise
        except BaseException as error:
            if _goes_on(error):
                raise
            log_once(value, error)
            return self._placeholder(value, f"cannot be stored, {type(error).__name__}")

    def _object(self, value: Any, nesting: int) -> Any:
        if isinstance(value, LazyObject):
            wrapped: Any = value
            if wrapped._wrapped is empty:
                wrapped._setup()
            return self.encode(wrapped._wrapped, nesting)
        if isinstance(value, Model) and snapshots.is_known(value._meta.label_lower):
            return self._instance(value, nesting)
        if isinstance(value, bytes | bytearray | memoryview) and length_of(value) > self.left:
            # Before it is copied.
            raise _TooLarge
        if (codec := registry.codec_for(value)) is not None:
            data = codec.encode(value)
            if codec.is_summary:
                return self.encode(data, nesting)
            self.left -= len(as_json(data))
            return {"$codec": codec.name, "v": data}
        if isinstance(value, enum.Enum):
            return self.encode(value.value, nesting + 1)
        if isinstance(value, type):
            if issubclass(value, Model) and value is not Model and snapshots.is_known(value._meta.label_lower):
                return {"$": "model", "v": value._meta.label_lower}
            # Its name as text, since decoding a payload imports nothing.
            return f"{value.__module__}.{value.__qualname__}"
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
            return self._list(value, nesting)
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            # A named tuple, one of whose fields may be a password.
            value = tuple(self._shown(name, item) for name, item in zip(value._fields, value, strict=False))
        if isinstance(value, tuple):
            items = self._list(value, nesting)
            return items if isinstance(items, dict) else {"$": "tuple", "v": items}
        if isinstance(value, set | frozenset):
            return {"$": "set", "v": self._items(value, nesting)}
        return self._placeholder(value, "cannot be stored")

    def _items(self, values: Iterable[Any], nesting: int) -> list[Any]:
        return [self.encode(item, nesting + 1) for item in values]

    def _list(self, values: Sequence[Any], nesting: int) -> Any:
        """A list; only the keys of instances that are too large together."""
        left = self.left
        if values and all(map(is_pair, values)):
            # Headers, as servers and clients represent them.
            values = [type(pair)((pair[0], self._shown(*pair))) for pair in values]
        try:
            return self._items(values, nesting)
        except _TooLarge:
            self.left = left
            if (keys := self._list_by_keys(values, nesting)) is None:
                raise
            return keys

    def _shown(self, key: object, item: Any) -> Any:
        """``item``, or a placeholder if its name ``key`` is that of a secret."""
        if not isinstance(key, str | bytes) or sensitive.is_no_secret(item):
            return item
        name = as_text(key)
        return hidden_value(f"{self.at}.{name}") if sensitive.is_sensitive(name, self.secrets) else item

    def _list_by_keys(self, values: Sequence[Any], nesting: int) -> dict[str, Any] | None:
        found = rows.keys_of(values)
        if found is None or sensitive.hides_keys(found[0], self.secrets):
            return None
        return self._keys("instances", *found, nesting)

    def _keys(self, kind: str, model: type[Model], using: str, keys: Sequence[Any], nesting: int) -> dict[str, Any]:
        data: dict[str, Any] = {"$": kind, "model": model._meta.label_lower, "db": using}
        if kind == "queryset" and len(keys) > rows.MAX_COMPOSITE and isinstance(keys[0], tuple):
            data["$"] = "instances"
        codec = registry.codec_for(keys[0]) if keys else None
        if codec is None or len(set(map(type, keys))) > 1:
            return {**data, "v": self._items(keys, nesting)}
        # The codec's name only once.
        return {**data, "codec": codec.name, "v": self._items([codec.encode(key) for key in keys], nesting)}

    def _mapping(self, value: Mapping[Any, Any], nesting: int) -> Any:
        if (summary := requests.request_summary(value)) is not None:
            return summary
        pairs = [(key, self._under(key, item, nesting + 1)) for key, item in value.items()]
        if all(type(key) is str and not key.startswith("$") for key, _ in pairs):
            self.left -= sum(len(key) for key, _ in pairs)
            return dict(pairs)
        return {"$": "dict", "v": [[self.encode(key, nesting + 1), item] for key, item in pairs]}

    def _under(self, key: object, item: Any, nesting: int) -> Any:
        item = self._shown(key, item)
        if isinstance(item, str) and (show := requests.how_to_show(key)) is not None:
            item = show(item)
        return self.encode(item, nesting)

    def _queryset(self, value: QuerySet[Any], nesting: int) -> Any:
        # values() and values_list() return rows that are no instances.
        are_rows = value._fields is not None  # type: ignore[attr-defined]
        model: type[Model] = value.model
        if sensitive.is_session(model) or (not are_rows and sensitive.hides_keys(model, self.secrets)):
            return data_of(hidden_value(f"{self.at}.pk"))
        found = value._result_cache
        if found is None:
            found = list((value if are_rows else value.values_list("pk", flat=True))[: rows.MAX_ROWS + 1])
        elif not are_rows:
            # Already read: the rows that the sender used.
            found = [row.pk for row in found[: rows.MAX_ROWS + 1]]
        if len(found) > rows.MAX_ROWS:
            return self._placeholder(value, f"more than {rows.MAX_ROWS} rows are too many to store")
        if are_rows:
            return self._items(sensitive.hide_columns(found, value, self.secrets, self.at), nesting)
        return self._keys("queryset", model, value.db, found, nesting)

    def _instance(self, instance: Model, nesting: int) -> dict[str, Any]:
        if sensitive.is_session(instance.__class__):
            return self._placeholder(instance, "rows of sessions are never stored")
        column = functools.partial(self._column, nesting=nesting + 1)
        with_text = self.keeps_texts and nesting == 0
        return {"$": "instance", **snapshots.take(instance, self.secrets, column, with_text=with_text)}

    def _column(self, value: Any, field: Field[Any, Any], nesting: int) -> Any:
        """One column: at most a quarter of the limit, and half of what is left.

        So one long column does not keep the key and the other columns from being stored.
        """
        share = min(self.limit // 4, self.left // 2)
        if type(value) in _PLAIN and (size := size_of(value)) <= share // MAX_WIDTH:
            # Most columns: certainly within their share.
            self.left -= size
            return value
        at, self.at = self.at, f"{self.at}.{field.name}"
        why = f"too large to store, more than the {share} bytes that are left for a column"
        try:
            if (size := length_of(value, share)) > share:
                return self._placeholder(value, why)
            rest, self.left = self.left - share, share
            try:
                encoded = self._of_field(value, field, nesting)
                if type(value) is str:
                    # The additional length of its characters in ASCII.
                    self.left -= size - len(value)
            except _TooLarge:
                encoded, self.left = self._placeholder(value, why), 0
            self.left += rest
            return encoded
        finally:
            self.at = at

    def _of_field(self, value: Any, field: Field[Any, Any], nesting: int) -> Any:
        encoded = self.encode(value, nesting)
        if is_placeholder(encoded) or isinstance(value, enum.Enum):
            # A field's own type, such as Money, which the field can convert.
            prepared = None
            with contextlib.suppress(Exception):
                prepared = field.get_prep_value(value)
            if type(prepared) in (str, int, bool):
                return {"$": "field", "v": self.encode(prepared)}
        return encoded


def _goes_on(error: BaseException) -> bool:
    """Whether ``error`` must be raised: the database's, a conflict of transactions, or one meant for the process."""
    return isinstance(error, DatabaseTrouble) or is_conflict(error) or is_interrupt(error)
