"""The loop that every runner calls."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from contextvars import ContextVar
from dataclasses import dataclass

from dsn_core.models import MessengerState
from dsn_core.pipeline import fanout, sending
from dsn_core.plugins.loading import describe

logger = logging.getLogger("dsn_core.run")

_draining: ContextVar[bool] = ContextVar("dsn_draining", default=False)


@dataclass
class Progress:
    """How many events were expanded and deliveries settled."""

    events: int = 0
    deliveries: int = 0

    def __bool__(self) -> bool:
        return bool(self.events or self.deliveries)

    def add(self, other: Progress) -> None:
        self.events += other.events
        self.deliveries += other.deliveries


def is_draining() -> bool:
    """Whether a loop of ours is at work below: it finds by itself what is recorded meanwhile."""
    return _draining.get()


def run_once(
    using: str, messengers: Collection[str] | None = None, stop: Callable[[], bool] = lambda: False
) -> Progress:
    """One claim of events, and one batch of every messenger that has due deliveries.

    ``messengers`` limits the sending to these; ``stop()`` is asked before each event,
    each claim and each message.
    One messenger's trouble is its own.
    """
    progress = Progress(events=fanout.expand_due(using, stop))
    for alias in MessengerState.objects.using(using).values_list("messenger", flat=True):
        if stop():
            break
        if messengers is None or alias in messengers:
            try:
                progress.deliveries += sending.send_due(alias, using, stop)
            except Exception as error:
                # The batch stays claimed, and is due again when its lease ends.
                logger.exception("A batch of the messenger %s was given up: %s", alias, describe(error))
    return progress


def drain(
    using: str,
    *,
    messengers: Collection[str] | None = None,
    seconds: float | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Progress:
    """Work until nothing is due, ``seconds`` have passed, or ``stop()`` says so."""
    total = Progress()
    end = None if seconds is None else time.monotonic() + seconds

    def is_over() -> bool:
        return stop() or (end is not None and time.monotonic() >= end)

    token = _draining.set(True)
    try:
        while not is_over():
            progress = run_once(using, messengers, is_over)
            total.add(progress)
            if not progress:
                break
    finally:
        _draining.reset(token)
    return total
