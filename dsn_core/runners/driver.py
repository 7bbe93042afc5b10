"""The loop that every runner calls."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from dsn_core.fanout import expander
from dsn_core.models import MessengerState
from dsn_core.plugins.calls import announce, reraise_interrupt
from dsn_core.plugins.errors import describe
from dsn_core.queue import schedule
from dsn_core.sending.sender import Sender
from dsn_core.signals import about_to_claim

logger = logging.getLogger("dsn_core.run")

_draining: ContextVar[bool] = ContextVar("dsn_draining", default=False)


@dataclass
class Progress:
    """How many events were expanded and deliveries settled.

    ``rest``: seconds after which the rate of a messenger lets more of what is due go; None when none waits for it.
    """

    events: int = 0
    deliveries: int = 0
    rest: float | None = None

    def __bool__(self) -> bool:
        return bool(self.events or self.deliveries)

    def add(self, other: Progress) -> None:
        self.events += other.events
        self.deliveries += other.deliveries


def is_draining() -> bool:
    """Whether a loop of ours is at work below: it finds by itself what is recorded meanwhile."""
    return _draining.get()


@contextlib.contextmanager
def draining() -> Iterator[None]:
    """Within this block what is recorded is found by the loop around it: nobody has to be woken for it."""
    token = _draining.set(True)
    try:
        yield
    finally:
        _draining.reset(token)


class Drain:
    """Works off what is due in the database ``using``; ``messengers`` limits the sending to these.

    ``stop()`` is asked before each event, each claim and each message.
    """

    def __init__(
        self, using: str, messengers: Collection[str] | None = None, stop: Callable[[], bool] = lambda: False
    ) -> None:
        self.using = using
        self._messengers = messengers
        self._stop = stop
        self._senders: dict[str, Sender] = {}

    def once(self) -> Progress:
        """One claim of events, and one of every messenger that has due deliveries. The trouble of one is its own."""
        announce(about_to_claim, Drain, using=self.using)
        progress = Progress(events=expander.expand_due(self.using, self._stop))
        for sender in self._known():
            if self._stop():
                break
            try:
                work = sender.work()
            except BaseException as error:
                reraise_interrupt(error)
                # The batch stays claimed, and is due again when its lease ends.
                logger.exception("A batch of the messenger %s was given up: %s", sender.alias, describe(error))
                continue
            progress.deliveries += work.done
            if work.rest is not None:
                progress.rest = work.rest if progress.rest is None else min(progress.rest, work.rest)
        return progress

    def _known(self) -> list[Sender]:
        for alias in known_messengers(self.using, self._messengers):
            if alias not in self._senders:
                self._senders[alias] = Sender(alias, self.using, self._stop)
        return list(self._senders.values())


def known_messengers(using: str, chosen: Collection[str] | None = None) -> list[str]:
    """Those of the messengers (of ``chosen``, or all) that deliveries were ever made for."""
    known = MessengerState.objects.using(using).order_by("messenger").values_list("messenger", flat=True)
    return [alias for alias in known if chosen is None or alias in chosen]


def drain(
    using: str,
    *,
    messengers: Collection[str] | None = None,
    seconds: float | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Progress:
    """Work until nothing is due, ``seconds`` have passed, or ``stop()`` says so. Waits for rates, not for pauses."""
    total = Progress()
    end = None if seconds is None else time.monotonic() + seconds

    def is_over() -> bool:
        return stop() or (end is not None and time.monotonic() >= end)

    work = Drain(using, messengers, is_over)
    with draining():
        while not is_over():
            progress = work.once()
            total.add(progress)
            if progress or schedule.make_missing_known(using):
                continue
            if progress.rest is None or (end is not None and time.monotonic() + progress.rest >= end):
                break
            nap(progress.rest, is_over)
    return total


def nap(seconds: float, stop: Callable[[], bool]) -> None:
    """Sleep, but hear within a tenth of a second when ``stop()`` says so."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not stop():
        time.sleep(min(left, 0.1))
