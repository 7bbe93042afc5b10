"""From what a signal said to JSON text."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from collections.abc import Collection, Mapping
from typing import Any

from django.db.models import Field, Manager, Model, QuerySet
from django.utils.functional import LazyObject, Promise, empty

from dsn_core import conf
from dsn_core.contracts.activities import Activity
from dsn_core.payload import snapshots
from dsn_core.plugins.registry import registry

#: Nesting beyond this, and items beyond this in one collection, become placeholders.
MAX_NESTING = 8
MAX_ITEMS = 1_000

#: The model attribute that names more fields whose values are never stored.
SENSITIVE_ATTRIBUTE = "dsn_sensitive_fields"


def dump(activity: Activity) -> str:
    """``activity`` as ASCII JSON text of at most ``MAX_PAYLOAD_BYTES``.

    A part that is one of the signal's arguments is stored once and referred to. Whatever cannot
    be stored, or is too large, becomes a placeholder that says what it was.
    """
    settings = conf.current()
    encoder = _Encoder({"password", *(name.lower() for name in settings.SENSITIVE_FIELDS)})
    kwargs = activity.signal_kwargs
    pieces = {f"kwargs.{name}": encoder.argument(name, value) for name, value in kwargs.items()}
    for part in ("sender", "action_object", "actor_object"):
        pieces[part] = encoder.part(getattr(activity, part), activity, is_sender=part == "sender")
    pieces["target"] = activity.target
    texts = {name: json.dumps(piece, ensure_ascii=True, separators=(",", ":")) for name, piece in pieces.items()}
    _shrink(texts, activity, settings.MAX_PAYLOAD_BYTES)
    arguments = ",".join(f"{json.dumps(name)}:{texts[f'kwargs.{name}']}" for name in kwargs)
    parts = ",".join(f'"{name}":{texts[name]}' for name in ("sender", "action_object", "actor_object", "target"))
    return f'{{"kwargs":{{{arguments}}},{parts}}}'


def _shrink(texts: dict[str, str], activity: Activity, limit: int) -> None:
    """Replace the largest pieces until all fit."""
    while sum(map(len, texts.values())) > limit:
        name = max(texts, key=lambda key: len(texts[key]))
        value = activity.signal_kwargs[name[7:]] if name.startswith("kwargs.") else getattr(activity, name)
        smaller = json.dumps(placeholder(value, f"too large to store, {len(texts[name])} bytes"))
        if len(smaller) >= len(texts[name]):
            return
        texts[name] = smaller


def placeholder(value: object, why: str) -> dict[str, str]:
    """What stands for a value that is not stored."""
    return {"$": "placeholder", "v": f"{type(value).__name__}: {why}"}


class _Encoder:
    def __init__(self, sensitive: Collection[str]) -> None:
        self.sensitive = sensitive

    def argument(self, name: str, value: Any) -> Any:
        return "" if name.lower() in self.sensitive else self.encode(value)

    def part(self, value: Any, activity: Activity, *, is_sender: bool) -> Any:
        if value is None:
            return None
        for name, argument in activity.signal_kwargs.items():
            if argument is value:
                return {"$": "argument", "v": name}
        if value is activity.sender and not is_sender:
            return {"$": "sender"}
        return self.encode(value)

    def encode(self, value: Any, nesting: int = 0) -> Any:
        kind = type(value)
        if value is None or kind is bool or kind is int or kind is str:
            return value
        if kind is float:
            return value if math.isfinite(value) else {"$": "float", "v": repr(value)}
        if isinstance(value, LazyObject):
            return self.encode(_unwrapped(value), nesting)
        if isinstance(value, Model):
            return {"$": "instance", **snapshots.take(value, self._is_sensitive_field, self._field_value)}
        if (codec := registry.codec_for(value)) is not None:
            return {"$": codec.name, "v": codec.encode(value)}
        if nesting >= MAX_NESTING:
            return placeholder(value, "nested too deeply to store")
        return self._structure(value, nesting)

    def _structure(self, value: Any, nesting: int) -> Any:
        if isinstance(value, enum.Enum):
            return self.encode(value.value, nesting + 1)
        if isinstance(value, type):
            return _class(value)
        if isinstance(value, str | Promise):
            return str(value)
        if isinstance(value, int):
            return int(value)
        if isinstance(value, Manager):
            value = value.all()
        if isinstance(value, QuerySet):
            keys = [instance.pk for instance in value] if _is_loaded(value) else value.values_list("pk", flat=True)
            return {"$": "queryset", "model": value.model._meta.label_lower, "v": self._items(list(keys[:MAX_ITEMS]), nesting)}
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        if isinstance(value, Mapping):
            return self._mapping(value, nesting)
        if isinstance(value, list | tuple | set | frozenset):
            if len(value) > MAX_ITEMS:
                return placeholder(value, f"{len(value)} items are too many to store")
            items = self._items(value, nesting)
            if isinstance(value, list):
                return items
            return {"$": "tuple" if isinstance(value, tuple) else "set", "v": items}
        return placeholder(value, "cannot be stored")

    def _items(self, values: Any, nesting: int) -> list[Any]:
        return [self.encode(item, nesting + 1) for item in values]

    def _mapping(self, value: Mapping[Any, Any], nesting: int) -> Any:
        if len(value) > MAX_ITEMS:
            return placeholder(value, f"{len(value)} items are too many to store")
        pairs = [
            (key, "" if isinstance(key, str) and key.lower() in self.sensitive else self.encode(item, nesting + 1))
            for key, item in value.items()
        ]
        if all(type(key) is str for key, _ in pairs) and "$" not in value:
            return dict(pairs)
        return {"$": "dict", "v": [[self.encode(key, nesting + 1), item] for key, item in pairs]}

    def _is_sensitive_field(self, instance: Model, name: str) -> bool:
        return name.lower() in self.sensitive or name in getattr(instance, SENSITIVE_ATTRIBUTE, ())

    def _field_value(self, value: Any, field: Field[Any, Any]) -> Any:
        encoded = self.encode(value)
        if isinstance(encoded, dict) and encoded.get("$") == "placeholder":
            # A field's own type, say Money: the field knows how to write it, as it does for fixtures.
            return {"$": "field", "v": field.get_prep_value(value)} if _is_plain(field.get_prep_value(value)) else encoded
        return encoded


def _class(value: type) -> Any:
    if issubclass(value, Model) and not value._meta.abstract:
        return {"$": "model", "v": value._meta.label_lower}
    return placeholder(value, f"the class {value.__qualname__}")


def _unwrapped(value: Any) -> Any:
    if value._wrapped is empty:
        value._setup()
    return value._wrapped


def _is_loaded(queryset: QuerySet[Any]) -> bool:
    return queryset._result_cache is not None


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | bool)
