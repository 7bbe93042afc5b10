"""Internals of Django and Python that dsn-core leans on, each with its reason.

``tests/test_django_internals.py`` fails when one of them changes. Those about the state of a thread are in
:mod:`dsn_core._thread_state`, those about savepoints in :mod:`dsn_core.savepoints`.
"""

from __future__ import annotations

import functools
import inspect
import re
import signal
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any, Final

from asgiref.sync import SyncToAsync, ThreadSensitiveContext
from django.apps import apps
from django.core.serializers.base import DeserializedObject
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from django.db.models.fields.files import FileDescriptor, ImageFileDescriptor
from django.db.models.fields.related_descriptors import ForeignKeyDeferredAttribute
from django.db.models.query_utils import DeferredAttribute
from django.db.models.signals import post_init, pre_init

#: There is no public parser of regular expressions: :mod:`dsn_core.conditions.patterns` bounds a pattern's worst case
#: by its syntax tree, and refuses nodes that it does not know.
regex_codes: Any = re._constants  # type: ignore[attr-defined]
regex_parser: Any = re._parser  # type: ignore[attr-defined]

#: The packages whose exceptions switch or end a green thread.
_GREEN_THREADS: Final = frozenset({"eventlet", "gevent", "greenlet"})


def callbacks_on_commit(connection: BaseDatabaseWrapper) -> list[Any]:
    """The functions that the open transaction of ``connection`` will call on commit.

    Reason: Django reports no rollback; a function that is no longer in this list was rolled back.
    Leans on: ``run_on_commit``, a list of tuples whose second item is the function.
    """
    return [entry[1] for entry in connection.run_on_commit]


def after_commit_first(connection: BaseDatabaseWrapper, mark: Callable[[], None], finish: Callable[[], None]) -> None:
    """Call ``mark``, then ``finish``, after the commit of the open transaction, before all other on-commit functions.

    A rollback of the savepoint that is open now also removes ``mark``. ``finish`` is called once for all marks,
    whichever savepoints were rolled back. Both have names, for Django's log, and raise nothing.
    Reason: an earlier function that is not robust and raises keeps Django from calling those after it; and the first
    function that is called cannot know which others will follow.
    Leans on: ``run_on_commit``, tuples of savepoint ids, function and whether it is robust, called in their order; a
    rollback to a savepoint removes exactly those that have its id.
    """
    entries: list[Any] = connection.run_on_commit
    place = next((number for number, entry in enumerate(entries) if entry[1] == finish), None)
    if place is None:
        place = 0
        entries.insert(0, (set(), finish, True))
    entries.insert(place, (open_savepoints(connection), mark, True))


def is_to_come(connection: BaseDatabaseWrapper, finish: Callable[[], None]) -> bool:
    """Whether the open transaction will call ``finish`` after its commit (see :func:`after_commit_first`)."""
    return any(entry[1] == finish for entry in connection.run_on_commit)


def open_savepoints(connection: BaseDatabaseWrapper) -> set[str]:
    """The ids of the savepoints that are open now. Ids are never used again."""
    return set(connection.savepoint_ids)


#: Calls that may lie between a fixture's relation being set and the receiver of ``m2m_changed``; there are eight.
_NEAR: Final = 16


def is_being_deserialized(instance: Model) -> bool:
    """Whether this is called because ``instance`` is being loaded from a fixture.

    Reason: before Django 6.1 ``m2m_changed`` has no ``raw``. Leans on: ``DeserializedObject.save`` and its ``self``.
    """
    frame: FrameType | None = sys._getframe()
    for _ in range(_NEAR):
        if frame is None:
            return False
        if frame.f_code is DeserializedObject.save.__code__:
            return frame.f_locals["self"].object is instance
        frame = frame.f_back
    return False


def asgi_request() -> ThreadSensitiveContext | None:
    """The object that identifies the current ASGI request; None outside of one.

    Reason: Django may send ``request_started`` in a task whose context variables the view does not see; both see this.
    Leans on: the context variable ``thread_sensitive_context`` of asgiref's ``SyncToAsync``.
    """
    return SyncToAsync.thread_sensitive_context.get(None)


def is_historical(sender: Any) -> bool:
    """Whether ``sender`` is a historical model of a migration, or the model of applied migrations.

    Reason: their changes concern no trigger. Leans on the name of their modules.
    """
    return isinstance(sender, type) and sender.__module__ in ("__fake__", "django.db.migrations.recorder")


def is_made_by_storing(model: type[Model]) -> bool:
    """Whether Django makes an instance of ``model`` from its row by storing the values, and by nothing else.

    Reason: ``Model.__init__`` goes through the fields one by one, which takes as long as the query. Leans on: what
    ``Model.from_db`` and ``Model.__init__`` do; the attributes of fields whose ``__set__`` only stores.
    """
    return _only_stores(model) and not (pre_init.has_listeners(model) or post_init.has_listeners(model))


#: Of the attributes that fields make. Others may convert what is stored, or be a property of the model.
_STORING: Final = frozenset({DeferredAttribute, ForeignKeyDeferredAttribute, FileDescriptor, ImageFileDescriptor})


@functools.lru_cache(maxsize=64)
def _only_stores(model: type[Model]) -> bool:
    own: Any = model
    return (
        own.from_db.__func__ is Model.from_db.__func__  # type: ignore[attr-defined]
        and own.__init__ is Model.__init__
        # Of a class that stands behind Model, which calls it.
        and super(Model, own).__init__ is object.__init__
        and own.__new__ is object.__new__
        and own.__setattr__ is object.__setattr__
        and all(type(inspect.getattr_static(own, field.attname)) in _STORING for field in own._meta.concrete_fields)
    )


def is_interrupt(error: BaseException) -> bool:
    """Whether ``error`` is meant for the process, the request or the green thread, so that it must be raised again.

    Ctrl-C; errors raised by a signal handler (gunicorn's time-out, Celery's soft time limit); those that gevent and
    eventlet raise in a green thread (``gevent.Timeout``, ``GreenletExit``).
    """
    if isinstance(error, KeyboardInterrupt):
        return True
    if not isinstance(error, Exception) and _is_of_green_threads(error):
        return True
    return raised_by_signal_handler(error)


def _is_of_green_threads(error: BaseException) -> bool:
    # By module names, since importing gevent where it is not used has side effects.
    return any(cls.__module__.partition(".")[0] in _GREEN_THREADS for cls in type(error).__mro__)


def raised_by_signal_handler(error: BaseException) -> bool:
    """Whether a signal handler of this process raised ``error``.

    Reason: a server's time-out is a SystemExit that looks like a plugin's own. Leans on: a handler runs as a call in
    the frame that it interrupts, so its code is among those of the traceback.
    """
    trace = error.__traceback__
    codes = set()
    while trace is not None:
        codes.add(trace.tb_frame.f_code)
        trace = trace.tb_next
    return not codes.isdisjoint(_codes_of_signal_handlers())


def _codes_of_signal_handlers() -> Iterator[CodeType]:
    for number in signal.valid_signals():
        handler: Any = signal.getsignal(number)
        if not callable(handler):
            continue
        # A partial's function, a method's function, an object's __call__.
        handler = getattr(handler, "func", handler)
        function = handler if hasattr(handler, "__code__") else getattr(handler, "__func__", type(handler).__call__)
        code = getattr(function, "__code__", None)
        if code is not None:
            yield code


class LazyReferences:
    """The references by name to models that are not loaded yet, as they are now.

    Reason: a plugin may import its models before it turns out that its app is not installed; a reference to a model
    that is never loaded is an *error* of Django's checks, at which every command stops.
    Leans on: ``apps._pending_operations``, lists of functions by app label and model name.
    """

    def __init__(self) -> None:
        self._known = {key: list(waiting) for key, waiting in _pending_operations().items()}

    def forget_later_ones(self) -> None:
        """Remove the references that were added since."""
        pending = _pending_operations()
        pending.clear()
        pending.update(self._known)


def _pending_operations() -> Any:
    return apps._pending_operations
