"""The context of the code that fires signals: the acting user, whether it is muted, and how deep it is in sending."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar, Token
from typing import Any, ParamSpec, TypeVar, cast

from asgiref.sync import iscoroutinefunction
from django.db.models import Model
from django.utils.functional import LazyObject

P = ParamSpec("P")
R = TypeVar("R")

_depth: ContextVar[int] = ContextVar("dsn_depth", default=0)
_muted: ContextVar[bool] = ContextVar("dsn_muted", default=False)
#: Returns the acting user. Called only when it is needed: finding a request's user may cost a query.
_acting: ContextVar[Callable[[], Any] | None] = ContextVar("dsn_acting", default=None)

#: The depth that an event recorded now would have: 0 outside of any sending.
depth: Callable[[], int] = _depth.get
#: Whether signals are ignored in this block.
is_muted: Callable[[], bool] = _muted.get


class _Block(contextlib.AbstractContextManager[None]):
    """A ``with`` block in which a context variable has a value; also a decorator of plain and async functions."""

    def __init__(self, variable: ContextVar[Any], value: Any) -> None:
        self._variable, self._value = variable, value
        self._tokens: list[Token[Any]] = []

    def __enter__(self) -> None:
        self._tokens.append(self._variable.set(self._value))

    def __exit__(self, *exc_info: object) -> None:
        self._variable.reset(self._tokens.pop())

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        # Each call enters its own block: several calls can run at once, in threads and tasks.
        if iscoroutinefunction(function):

            async def inner_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                with _Block(self._variable, self._value):
                    return await cast("Awaitable[Any]", function(*args, **kwargs))

            return cast("Callable[P, R]", functools.wraps(function)(inner_async))

        @functools.wraps(function)
        def inner(*args: P.args, **kwargs: P.kwargs) -> R:
            with _Block(self._variable, self._value):
                return function(*args, **kwargs)

        return inner


@contextlib.contextmanager
def working_on(event_depth: int) -> Iterator[None]:
    """Signals in this block are one deeper than ``event_depth``; ``muted`` and ``acting`` outside have no effect."""
    with _Block(_depth, event_depth + 1), _Block(_muted, False), _Block(_acting, None):
        yield


def deeper() -> _Block:
    """Signals fired in this block are one deeper than those of the code around it."""
    return _Block(_depth, _depth.get() + 1)


def muted() -> _Block:
    """Signals that are sent, and changes that are emitted, within this block match no trigger.

    For imports, fixtures and tests. Holds in the thread or task of the block only. Also a decorator::

        with muted():
            Movie.objects.create(name="an old one")
    """
    return _Block(_muted, True)


def acting(user: Any) -> _Block:
    """Within this block ``user`` is the actor object of every signal that has none itself, as those of models.

    ``user`` is an instance of the user model or of any other; None and anonymous users mean that there is no actor.
    For requests, ``dsn_core.middleware.ActingUserMiddleware`` does this. Also a decorator::

        with acting(ann):
            movie.save()
    """
    is_user = user is None or isinstance(user, Model | LazyObject) or getattr(user, "is_anonymous", False) is True
    if not is_user:
        raise TypeError(f"acting() takes a user (an instance of a model) or None, not {type(user).__name__}.")
    return acting_as(lambda: user)


def acting_as(find: Callable[[], Any]) -> _Block:
    """:func:`acting` with the user that ``find()`` returns, called when the user is needed."""
    return _Block(_acting, find)


def acting_user() -> Model | None:
    """The acting user of this block, or None."""
    find = _acting.get()
    user = None if find is None else find()
    return user if isinstance(user, Model) else None
