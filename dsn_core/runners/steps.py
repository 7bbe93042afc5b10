"""The steps of the pipeline, as runners of plugins take them. See the functions of ``dsn_core`` of the same names."""

from __future__ import annotations

import math
import time

from dsn_core.fanout import expander
from dsn_core.intake.record import outbox
from dsn_core.queue import schedule
from dsn_core.runners import driver, heartbeat
from dsn_core.sending.sender import Sender
from dsn_core.triggers.dispatch import trigger_cache


def expand_due(using: str | None = None, *, seconds: float | None = None) -> int:
    """See :func:`dsn_core.expand_due`."""
    alias, until = using or outbox(), _Until(seconds)
    heartbeat.beat(alias)
    trigger_cache.refresh(patient=True)
    total = 0
    while not until.is_over() and (done := expander.expand_due(alias, until.is_over)):
        total += done
    return total


def send_due(messenger: str, using: str | None = None, *, seconds: float | None = None) -> int:
    """See :func:`dsn_core.send_due`."""
    alias, until = using or outbox(), _Until(seconds)
    heartbeat.beat(alias)
    # What is rendered and sent may fire signals.
    trigger_cache.refresh(patient=True)
    sender = Sender(messenger, alias, until.is_over)
    total = 0
    while not until.is_over():
        work = sender.work()
        total += work.done
        if work.done:
            continue
        if work.rest is None or work.rest >= until.left():
            break
        driver.nap(work.rest, until.is_over)
    return total


def due_messengers(using: str | None = None) -> list[str]:
    """See :func:`dsn_core.due_messengers`."""
    return schedule.due_messengers(using or outbox())


class _Until:
    """A time that runs out; None never does."""

    def __init__(self, seconds: float | None) -> None:
        self._end = math.inf if seconds is None else time.monotonic() + seconds

    def left(self) -> float:
        return self._end - time.monotonic()

    def is_over(self) -> bool:
        return self.left() <= 0
