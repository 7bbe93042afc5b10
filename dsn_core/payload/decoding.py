"""Decoding of an event's JSON text to the signal's parts and arguments."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from django.db.models import Field

from dsn_core.contracts.activities import Activity
from dsn_core.exceptions import DSNError, PayloadError
from dsn_core.payload import placeholders, snapshots
from dsn_core.payload.rows import StoredRows
from dsn_core.plugins.errors import told
from dsn_core.plugins.registry import registry


def load(verb: str, text: str) -> Activity:
    """The activity that :func:`~dsn_core.payload.encoding.dump` wrote as ``text``.

    Imports nothing that the text names, and runs no query. Raises
    :class:`~dsn_core.exceptions.PayloadError`, with what to do about it.
    """
    if not text:
        raise PayloadError("The event's payload was purged ('manage.py dsn_purge'): nothing is left to send.")
    try:
        data = json.loads(text)
        kwargs: dict[str, Any] = {}
        for name, value in data["kwargs"].items():
            kwargs[name] = _part(name, {name: value}, kwargs, None)
        sender = _part("sender", data, kwargs, None)
        return Activity(
            verb=verb,
            sender=sender,
            action_object=_part("action_object", data, kwargs, sender),
            actor_object=_part("actor_object", data, kwargs, sender),
            target=_part("target", data, kwargs, sender),
            signal_kwargs=kwargs,
        )
    except (DSNError, MemoryError):
        raise
    except Exception as error:
        raise PayloadError(
            f"The payload cannot be read ({type(error).__name__}: {error}): it was damaged, "
            "or written by another version. Update this process, or purge the event."
        ) from error


def _part(name: str, data: dict[str, Any], kwargs: dict[str, Any], sender: Any) -> Any:
    value = placeholders.named(data[name], name)
    if isinstance(value, dict):
        if value.get("$") == "argument":
            return kwargs[value["v"]]
        if value.get("$") == "sender":
            return sender
    return _decode(value)


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "$codec" in value:
        return _decode_by_codec(value["$codec"], value["v"])
    kind = value.get("$")
    if kind is None:
        return {key: _decode(item) for key, item in value.items()}
    return _DECODERS[kind](value)


def _decode_by_codec(name: str, data: Any) -> Any:
    try:
        codec = registry.codec(name)
    except DSNError:
        raise PayloadError(
            f"A value was stored by the codec {name!r}, which is not installed (any more). "
            "Install its plugin again, or purge the event."
        ) from None
    try:
        return codec.decode(data)
    except MemoryError:
        raise
    except Exception as error:
        raise PayloadError(
            f"The codec {name!r} cannot decode the stored value. Update its plugin, or purge the event. "
            f"It raised {told(error, type(codec))}"
        ) from error


def _field(value: Any, field: Field[Any, Any]) -> Any:
    if isinstance(value, dict) and value.get("$") == "field":
        return field.to_python(value["v"])
    return _decode(value)


def _keys(value: dict[str, Any]) -> list[Any]:
    """The keys of rows, by their common codec, or by the data of each key."""
    return [_decode_by_codec(value["codec"], key) if "codec" in value else _decode(key) for key in value["v"]]


def _queryset(value: dict[str, Any]) -> Any:
    found = snapshots.find_model(value["model"])._base_manager.using(value["db"])
    return found.filter(pk__in=_keys(value))


_DECODERS: dict[str, Callable[[Any], Any]] = {
    "float": lambda value: float(value["v"]),
    "dict": lambda value: {_hashable(_decode(key)): _decode(item) for key, item in value["v"]},
    "tuple": lambda value: tuple(_decode(item) for item in value["v"]),
    "set": lambda value: {_hashable(_decode(item)) for item in value["v"]},
    "model": lambda value: snapshots.find_model(value["v"]),
    "instance": lambda value: snapshots.restore(value, _field),
    "queryset": _queryset,
    "instances": lambda value: StoredRows(snapshots.find_model(value["model"]), value["db"], _keys(value)),
    "placeholder": placeholders.from_data,
    "hidden": placeholders.from_data,
}


def _hashable(value: Any) -> Any:
    """``value`` in a hashable form, for keys of dicts and items of sets."""
    if isinstance(value, list | tuple):
        return tuple(_hashable(item) for item in value)
    if isinstance(value, set):
        return frozenset(value)
    return str(value) if isinstance(value, dict) else value
