"""The default runner: in this process, after the commit."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import Any

from django.core.signals import request_finished, request_started

from dsn_core import conf
from dsn_core.contracts.runners import BaseRunner
from dsn_core.pipeline import run
from dsn_core.plugins.loading import describe

logger = logging.getLogger("dsn_core.runners")


#: The databases that the request at hand owes a drain; None outside of a request.
_owed: ContextVar[set[str] | None] = ContextVar("dsn_owed", default=None)
_draining: ContextVar[bool] = ContextVar("dsn_draining", default=False)


class ImmediateRunner(BaseRunner):
    """Sends in this process, after the commit; within a request, after the response."""

    name = "immediate"

    def __init__(self) -> None:
        request_started.connect(_on_request_started, dispatch_uid="dsn_core.immediate.started")
        request_finished.connect(_on_request_finished, dispatch_uid="dsn_core.immediate.finished")

    def wake(self, using: str) -> None:
        owed = _owed.get()
        if owed is not None:
            owed.add(using)
        elif not _draining.get():
            _drain(using)


def _on_request_started(**kwargs: Any) -> None:
    _owed.set(set())


def _on_request_finished(**kwargs: Any) -> None:
    owed = _owed.get()
    _owed.set(None)
    for using in owed or ():
        _drain(using)


def _drain(using: str) -> None:
    """Work for a bounded time. What a message causes meanwhile is found by the same loop."""
    token = _draining.set(True)
    try:
        run.drain(using, seconds=conf.current().IMMEDIATE_SECONDS)
    except Exception as error:
        logger.exception("Sending right after the commit failed (%s); a worker will find the work.", describe(error))
    finally:
        _draining.reset(token)
