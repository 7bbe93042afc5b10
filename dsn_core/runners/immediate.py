"""The default runner: in this process, after the commit."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

from asgiref.sync import ThreadSensitiveContext
from django.core.signals import request_finished, request_started
from django.db import close_old_connections

from dsn_core import conf
from dsn_core._django import asgi_request
from dsn_core.contracts.runners import BaseRunner
from dsn_core.plugins.calls import reraise_interrupt
from dsn_core.plugins.errors import describe
from dsn_core.runners import driver

logger = logging.getLogger("dsn_core.runners")

#: The databases that the request at hand owes a drain; None outside of a request.
_owed: ContextVar[set[str] | None] = ContextVar("dsn_owed", default=None)
#: The same under ASGI, where Django may send ``request_started`` in a task whose context variables the
#: view does not see. What both see is asgiref's object for the request.
_owed_in_asgi: WeakKeyDictionary[ThreadSensitiveContext, set[str]] = WeakKeyDictionary()


class ImmediateRunner(BaseRunner):
    """Sends in this process, after the commit; within a request, after the response."""

    name = "immediate"

    def __init__(self) -> None:
        request_started.connect(_on_request_started, dispatch_uid="dsn_core.immediate.started")
        request_finished.connect(_on_request_finished, dispatch_uid="dsn_core.immediate.finished")

    def wake(self, using: str) -> None:
        owed = _owed_by_this_request()
        if owed is not None:
            owed.add(using)
        elif not driver.is_draining():
            _drain(using)


def _owed_by_this_request() -> set[str] | None:
    request = asgi_request()
    return _owed.get() if request is None else _owed_in_asgi.get(request)


def _on_request_started(**kwargs: Any) -> None:
    if (request := asgi_request()) is not None:
        _owed_in_asgi[request] = set()
    else:
        # What an earlier request of this thread still owes: its server never closed the response.
        _owed.set(_owed.get() or set())


def _on_request_finished(**kwargs: Any) -> None:
    owed = _owed_by_this_request()
    if (request := asgi_request()) is not None:
        _owed_in_asgi.pop(request, None)
    else:
        _owed.set(None)
    if owed:
        for using in sorted(owed):
            _drain(using)
        # Django has closed the request's connections before we opened one again.
        close_old_connections()


def _drain(using: str) -> None:
    """Work for a bounded time. What a message causes meanwhile is found by the same loop."""
    try:
        driver.drain(using, seconds=conf.current().IMMEDIATE_SECONDS)
    except BaseException as error:
        reraise_interrupt(error)
        logger.exception("Sending right after the commit failed (%s); a worker will find the work.", describe(error))
