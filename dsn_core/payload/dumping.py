"""Encoding of a signal's parts and arguments as JSON text of bounded length."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Final

from django.db.models import Model

from dsn_core import conf
from dsn_core.contracts.activities import ActivityView
from dsn_core.payload import sensitive
from dsn_core.payload.encoding import SIMPLE, Encoder
from dsn_core.payload.pieces import as_json
from dsn_core.payload.placeholders import data_of, hidden_value, placeholder
from dsn_core.plugins.catalogue import catalogue

_PARTS: Final = ("sender", "action_object", "actor_object", "target")
# For names of arguments, which repeat.
quoted: Final = functools.lru_cache(maxsize=1_024)(as_json)


def dump(activity: ActivityView) -> str:
    """``activity`` as ASCII JSON text of at most ``MAX_PAYLOAD_BYTES``.

    An object that is several parts or arguments is stored once and referred to. A value that cannot be stored, or is
    too large, becomes a placeholder that names its type. A queryset, and an argument that is computed on access, may
    run queries; raises errors of the database then, and no others.
    """
    settings = conf.current()
    limit, secrets = settings.MAX_PAYLOAD_BYTES, sensitive.names(settings)
    registration = catalogue.find(activity.verb)
    encoder = Encoder(secrets, limit)
    if registration is not None:
        encoder = Encoder(secrets, limit, plain=tuple(registration.plain), keeps_texts=registration.removes)
    texts = {f"kwargs.{name}": _argument(name, activity, encoder) for name in activity.signal_kwargs}
    texts |= {part: _part(part, activity, encoder) for part in ("sender", "action_object", "actor_object")}
    texts["target"] = as_json(activity.target)
    text = _joined(texts)
    if len(text) > limit:
        values = {f"kwargs.{name}": value for name, value in activity.signal_kwargs.items()}
        values |= {part: getattr(activity, part) for part in _PARTS}
        _shrink(texts, values, encoder, len(text) - limit)
        text = _joined(texts)
    return text


def _argument(name: str, activity: ActivityView, encoder: Encoder) -> str:
    """The JSON text of the signal's argument ``name``, or a reference to an earlier argument with the same object."""
    value = activity.signal_kwargs[name]
    if _is_hidden(name, encoder):
        return as_json(value if sensitive.is_no_secret(value) else data_of(hidden_value("")))
    if type(value) not in SIMPLE:
        same = (other for other, argument in activity.signal_kwargs.items() if argument is value)
        if (first := next(other for other in same if not _is_hidden(other, encoder))) != name:
            return as_json({"$": "argument", "v": first})
    return encoder.text(value, name)


def _is_hidden(argument: str, encoder: Encoder) -> bool:
    return argument not in encoder.plain and sensitive.is_sensitive(argument, encoder.secrets)


def _part(part: str, activity: ActivityView, encoder: Encoder) -> str:
    """The JSON text of one part of the activity, or a reference to the argument or sender that is the same object."""
    value = getattr(activity, part)
    if value is not None:
        for name, argument in activity.signal_kwargs.items():
            if argument is value:
                return as_json({"$": "argument", "v": name})
        if value is activity.sender and part != "sender":
            return '{"$":"sender"}'
    return encoder.text(value, part)


def _joined(texts: Mapping[str, str]) -> str:
    arguments = ",".join(
        [f"{quoted(name.removeprefix('kwargs.'))}:{text}" for name, text in texts.items() if name not in _PARTS]
    )
    parts = ",".join([f'"{name}":{texts[name]}' for name in _PARTS])
    return f'{{"kwargs":{{{arguments}}},{parts}}}'


def _shrink(texts: dict[str, str], values: Mapping[str, Any], encoder: Encoder, excess: int) -> None:
    """Shorten the largest pieces until ``excess`` characters are saved, then leave out the largest if needed."""
    for shorten in (_shorter, _without):
        for name in sorted(texts, key=lambda key: len(texts[key]), reverse=True):
            if excess <= 0:
                return
            shorter = shorten(name, values[name], texts[name], encoder)
            if (saved := len(texts[name]) - len(shorter)) > 0:
                excess -= saved
                texts[name] = shorter


def _shorter(name: str, value: Any, text: str, encoder: Encoder) -> str:
    """A shorter text of the piece ``name``: an object's key and short columns, or the keys of a list of objects."""
    if isinstance(value, Model):
        smaller = Encoder(encoder.secrets, encoder.limit // 8, plain=encoder.plain, keeps_texts=encoder.keeps_texts)
        return smaller.text(value, name.removeprefix("kwargs."))
    return encoder.keys_text(value) or text


def _without(name: str, value: Any, text: str, encoder: Encoder) -> str:
    return as_json(placeholder(value, f"too large to store, {len(text)} bytes"))
