"""What surrounds the code that fires signals: who acts, whether it is muted, which message caused it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from django.db.models import Model
from django.utils.functional import LazyObject

_depth: ContextVar[int] = ContextVar("dsn_depth", default=0)
_muted: ContextVar[bool] = ContextVar("dsn_muted", default=False)
#: Gives the acting user. Called only when somebody asks: whom a request belongs to may be a query.
_acting: ContextVar[Callable[[], Any] | None] = ContextVar("dsn_acting", default=None)

#: Whether signals are to be ignored here and now.
is_muted: Callable[[], bool] = _muted.get


def depth() -> int:
    """The depth that an event recorded now would have: 0 outside of any sending."""
    return _depth.get()


@contextlib.contextmanager
def working_on(event_depth: int) -> Iterator[None]:
    """Signals fired within are one deeper than ``event_depth``, and nothing that the code around us does."""
    depth_token, muted_token, acting_token = _depth.set(event_depth + 1), _muted.set(False), _acting.set(None)
    try:
        yield
    finally:
        _depth.reset(depth_token)
        _muted.reset(muted_token)
        _acting.reset(acting_token)


@contextlib.contextmanager
def deeper() -> Iterator[None]:
    """Signals fired within are one deeper than those of the code around it."""
    token = _depth.set(_depth.get() + 1)
    try:
        yield
    finally:
        _depth.reset(token)


@contextlib.contextmanager
def muted() -> Iterator[None]:
    """Signals that are sent within this block, and what is emitted there, match no trigger.

    For imports, for fixtures, for tests. Holds for the code of the block, in its thread or task;
    not for other threads. Also a decorator::

        with muted():
            Movie.objects.create(name="an old one")
    """
    token = _muted.set(True)
    try:
        yield
    finally:
        _muted.reset(token)


@contextlib.contextmanager
def acting(user: Any) -> Iterator[None]:
    """Within this block ``user`` is the actor object of every signal that does not itself say who acted.

    Signals of models say nothing about it. ``user`` is a user, or an instance of any model; None and
    anonymous users are nobody. A middleware does this for requests:
    ``dsn_core.middleware.ActingUserMiddleware``. Also a decorator::

        with acting(ann):
            movie.save()
    """
    if user is not None and not isinstance(user, Model | LazyObject) and not getattr(user, "is_anonymous", False):
        raise TypeError(f"acting() takes a user (an instance of a model) or None, not {user!r}.")
    with acting_as(lambda: user):
        yield


@contextlib.contextmanager
def acting_as(find: Callable[[], Any]) -> Iterator[None]:
    """The same, with the user that ``find()`` returns when somebody asks."""
    token = _acting.set(find)
    try:
        yield
    finally:
        _acting.reset(token)


def acting_user() -> Model | None:
    """Who acts here and now, or None."""
    find = _acting.get()
    user = None if find is None else find()
    return user if isinstance(user, Model) else None
