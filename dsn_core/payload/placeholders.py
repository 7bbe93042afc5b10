"""Placeholders for values that an event did not store. Using one raises an error."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Final, NamedTuple, NoReturn

from dsn_core import conf
from dsn_core.exceptions import NotStored

#: The reasons why a value is not stored.
SIZE, ROWS, TYPE, HIDDEN = "size", "rows", "type", "hidden"
_WHY_HIDDEN: Final = "it counts as a secret"

_WAYS_OUT: Final = {
    SIZE: "Send less of it, such as a queryset or the keys, or raise DSN['MAX_PAYLOAD_BYTES'], which is {limit} now.",
    ROWS: "Send the criteria of the rows, and read them in get_template_context() or in a receiver resolver.",
    TYPE: "Send the values that the message needs, or register a codec for its type with the hook dsn_codecs.",
    HIDDEN: "If the message needs it, allow its name in DSN['PLAIN_FIELDS'], or that of an argument in "
    "register_signal(..., plain=[...]), for events recorded from then on. A name in DSN['SENSITIVE_FIELDS'] or a "
    "model's dsn_sensitive_fields must be removed there.",
}

#: The errors of placeholders that were used in a block of :func:`refused`, or None outside of one.
_used: ContextVar[list[NotStored] | None] = ContextVar("dsn_used_placeholders", default=None)


class Placeholder:
    """Replaces a value that was not stored. Any use raises :class:`~dsn_core.exceptions.NotStored`.

    Only ``is``, ``isinstance()`` and, outside of a message template, ``repr()`` work. It has no public attributes,
    since a template could mean the value's.
    """

    __slots__ = ("_name", "_what")

    def __init__(self, name: str, what: str) -> None:
        self._name, self._what = name, what

    def __repr__(self) -> str:
        if _used.get() is not None:
            # A template prints a list that contains it.
            _refuse(self)
        return f"<not stored: {self._name or 'a value'}, {self._what}>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            # Python looks for optional methods. Those that matter are set below.
            raise AttributeError(name)
        _refuse(self)

    def __reduce__(self) -> tuple[type[Placeholder], tuple[str, str]]:
        return Placeholder, (self._name, self._what)

    # Needed for items of a set.
    __hash__ = object.__hash__


def _refuse(self: Placeholder, *args: object) -> NoReturn:
    way_out = _WAYS_OUT[kind_of(self)].format(limit=conf.current().MAX_PAYLOAD_BYTES)
    subject = repr(self._name) if self._name else "A value"
    error = NotStored(f"{subject} was not stored with the event ({self._what}). {way_out}")
    if (used := _used.get()) is not None:
        used.append(error)
    raise error


# Not __call__: it is no callable.
for _name in (
    *("str", "format", "bytes", "bool", "int", "float", "complex", "index", "len", "iter", "next", "reversed"),
    *("contains", "getitem", "setitem", "delitem", "eq", "ne", "lt", "le", "gt", "ge"),
    *("neg", "pos", "abs", "invert", "round", "trunc", "floor", "ceil", "fspath", "html"),
    *(f"{side}{operator}" for side in ("", "r") for operator in ("add", "sub", "mul", "truediv", "floordiv", "mod")),
    *(f"{side}{operator}" for side in ("", "r") for operator in ("divmod", "pow", "and", "or", "xor")),
):
    setattr(Placeholder, f"__{_name}__", _refuse)


class refused:  # noqa: N801 - used as a block
    """Within this block the use of a placeholder fails, even if the error is swallowed, as template engines do."""

    # A generator as a context manager would take a tenth of what rendering a short template takes.
    __slots__ = ("_token", "_used")

    def __enter__(self) -> None:
        self._used: list[NotStored] = []
        self._token = _used.set(self._used)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        _used.reset(self._token)
        if self._used and not isinstance(error, NotStored) and (error is None or isinstance(error, Exception)):
            raise self._used[0] from error


def kind_of(value: Placeholder) -> str:
    """The reason why it is not stored: one of the constants of this module."""
    return _kind(value._what)


def type_of(value: Placeholder) -> str:
    """The type's name of the value that was not stored."""
    return value._what.partition(":")[0]


def hidden_value(name: str) -> Placeholder:
    """The placeholder of a value that is hidden because of its name."""
    return Placeholder(name, _WHY_HIDDEN)


# As JSON data


def placeholder(value: object, why: str, name: str = "") -> dict[str, str]:
    """The data of a placeholder for ``value``, named ``name`` in the event; empty for an argument's own name.

    It names the type, and the number of items.
    """
    items = f" of {len(value)}" if type(value) in (list, tuple, set, frozenset, dict) else ""  # type: ignore[arg-type]
    return {"$": "placeholder", "v": f"{type(value).__name__}{items}: {why}", **({"n": name} if name else {})}


def data_of(value: Placeholder) -> dict[str, str]:
    """The data of ``value``, from which :func:`from_data` makes it again."""
    data = {"$": "hidden"} if value._what == _WHY_HIDDEN else {"$": "placeholder", "v": value._what}
    return {**data, "n": value._name} if value._name else data


def from_data(data: Mapping[str, Any]) -> Placeholder:
    return Placeholder(data.get("n", ""), _WHY_HIDDEN if data["$"] == "hidden" else data["v"])


def is_placeholder(data: Any) -> bool:
    return isinstance(data, dict) and data.get("$") in ("placeholder", "hidden")


def named(data: Any, name: str) -> Any:
    """``data``, with ``name`` added if it is that of a placeholder without a name."""
    return {"n": name, **data} if is_placeholder(data) else data


def _kind(what: str) -> str:
    if what == _WHY_HIDDEN:
        return HIDDEN
    return SIZE if ": too large " in what else ROWS if what.endswith("too many to store") else TYPE


# The missing values of an event


class Missing(NamedTuple):
    """A value that an event did not store: its name, its type with the reason, and the kind of reason."""

    name: str
    why: str
    kind: str


#: Found in each text with placeholders, without parsing it. In values' texts, quotes are escaped.
_MARK: Final = '"$":"placeholder"'


def lost_in(text: str) -> list[Missing]:
    """The missing values of the payload ``text`` that a message may need: not those that are hidden on purpose.

    Nor a sender of an unknown type, which messages rarely show.
    """
    if _MARK not in text:
        return []
    return [item for item in missing_in(text) if item.kind != HIDDEN and (item.name, item.kind) != ("sender", TYPE)]


def missing_in(text: str) -> list[Missing]:
    """All missing values of the payload ``text``, without duplicates; empty if it is no payload."""
    try:
        data = json.loads(text)
        pieces = {**data.pop("kwargs"), **data}
        found = [item for name, piece in pieces.items() for item in _missing(named(piece, name))]
    except (ValueError, RecursionError, AttributeError, LookupError, TypeError):
        return []
    return list(dict.fromkeys(found))


def _missing(data: Any) -> Iterator[Missing]:
    if isinstance(data, list):
        for item in data:
            yield from _missing(item)
    elif isinstance(data, dict):
        kind = data.get("$")
        if kind == "placeholder":
            yield Missing(data.get("n", ""), data["v"], _kind(data["v"]))
        elif kind == "hidden":
            yield Missing(data.get("n", ""), "", HIDDEN)
        elif "$codec" not in data:
            if kind == "instance":
                for name in data.get("blank", ()):
                    yield Missing(f"{data['model']}.{name}", "", HIDDEN)
            for item in data.values():
                yield from _missing(item)
