"""What stands for a value that an event did not store: nobody takes it for the value."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Final, NamedTuple, NoReturn

from dsn_core import conf
from dsn_core.exceptions import NotStored

#: Why a value is not stored, and what its author can do.
SIZE, ROWS, TYPE, HIDDEN = "size", "rows", "type", "hidden"

_WAYS_OUT: Final = {
    SIZE: "Send less of it, such as a queryset or the keys, or raise DSN['MAX_PAYLOAD_BYTES'], which is {limit} now.",
    ROWS: "Send what selects the rows, and read them in get_template_context() or in a receiver resolver.",
    TYPE: "Send what the message needs of it, or register a codec for its type with the hook dsn_codecs.",
    HIDDEN: "If the message needs it, allow its name in DSN['PLAIN_FIELDS'], or that of an argument in "
    "register_signal(..., plain=[...]); that holds for events recorded from then on. What DSN['SENSITIVE_FIELDS'] or a "
    "model's dsn_sensitive_fields names has to be taken out there.",
}

#: What was used in a block of :func:`refused`, or None outside of one.
_used: ContextVar[list[NotStored] | None] = ContextVar("dsn_used_placeholders", default=None)


class Placeholder:
    """Stands for a value that was not stored. Whatever is done with it raises :class:`~dsn_core.exceptions.NotStored`.

    Only ``is``, ``isinstance()`` and, outside of a message template, ``repr()`` can be asked of it. It has no public
    name of its own, since a template could mean the value's.
    """

    __slots__ = ("_kind", "_name", "_what")

    def __init__(self, name: str, what: str, kind: str) -> None:
        self._name, self._what, self._kind = name, what, kind

    def __repr__(self) -> str:
        if _used.get() is not None:
            # A template prints a list, and this is in it.
            _refuse(self)
        return f"<not stored: {self._name or 'a value'}, {self._what}>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            # Python asks for what objects may have; what needs it comes to one of the methods below.
            raise AttributeError(name)
        _refuse(self)

    def __copy__(self) -> Placeholder:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Placeholder:
        return self

    def __reduce__(self) -> tuple[type[Placeholder], tuple[str, str, str]]:
        return Placeholder, (self._name, self._what, self._kind)

    # An item of a set is found by it.
    __hash__ = object.__hash__


def _refuse(self: Placeholder, *args: object) -> NoReturn:
    way_out = _WAYS_OUT[self._kind].format(limit=conf.current().MAX_PAYLOAD_BYTES)
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
    """Within this block using a placeholder fails, also where somebody swallows the error, as template engines do."""

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
    """Why it is not stored: one of the constants of this module."""
    return value._kind


def type_of(value: Placeholder) -> str:
    """The name of the type of what is not stored."""
    return value._what.partition(":")[0]


# As JSON data


def placeholder(value: object, why: str, name: str = "") -> dict[str, str]:
    """The data of what stands for ``value``, which the event knows as ``name``; an argument's own name is known."""
    return {"$": "placeholder", "v": f"{described(value)}: {why}", **({"n": name} if name else {})}


def hidden(name: str = "") -> dict[str, str]:
    """The same for a value that is hidden because of its name."""
    return {"$": "hidden", **({"n": name} if name else {})}


def described(value: object) -> str:
    """The type of a value, and of how many items it is; nothing of what is in it."""
    name = type(value).__name__
    return f"{name} of {len(value)}" if type(value) in (list, tuple, set, frozenset, dict) else name  # type: ignore[arg-type]


def is_placeholder(data: Any) -> bool:
    """Whether JSON data is that of a placeholder."""
    return isinstance(data, dict) and data.get("$") in ("placeholder", "hidden")


def named(data: Any, name: str) -> Any:
    """JSON data, which, when it is that of a placeholder without a name, gets this one."""
    return {"n": name, **data} if is_placeholder(data) else data


def data_of(value: Placeholder) -> dict[str, str]:
    """The data that ``value`` was read from."""
    name, what, kind = value.__reduce__()[1]
    return hidden(name) if kind == HIDDEN else {"$": "placeholder", "v": what, "n": name}


def from_data(data: Mapping[str, Any]) -> Placeholder:
    """What stands for the value that ``data`` speaks of."""
    name = data.get("n", "")
    return hidden_value(name) if data["$"] == "hidden" else Placeholder(name, data["v"], _kind(data["v"]))


def hidden_value(name: str) -> Placeholder:
    """What stands for a value that is hidden because of its name."""
    return Placeholder(name, "it counts as a secret", HIDDEN)


def _kind(what: str) -> str:
    return SIZE if ": too large " in what else ROWS if what.endswith("too many to store") else TYPE


# What an event lacks


class Missing(NamedTuple):
    """Something that an event did not store: its name, what it was and why, and of what kind the reason is."""

    name: str
    why: str
    kind: str


#: How a text with placeholders betrays itself without being parsed; texts of values have their quotes escaped.
_MARK: Final = '"$":"placeholder"'


def lost_in(text: str) -> list[Missing]:
    """What is missing in the payload ``text`` that a message may want: not what is hidden on purpose.

    Nor a sender of a type of the project's own, which is there to be compared, and is rarely shown.
    """
    if _MARK not in text:
        return []
    return [item for item in missing_in(text) if item.kind != HIDDEN and (item.name, item.kind) != ("sender", TYPE)]


def missing_in(text: str) -> list[Missing]:
    """All that is missing in the payload ``text``, each once; empty for what is no payload."""
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
