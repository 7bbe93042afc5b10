"""The loop that every runner runs: in the calling thread, or in a worker's threads."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from dsn_core.intake.record import outbox
from dsn_core.models import MessengerState
from dsn_core.plugins.calls import reraise_interrupt
from dsn_core.plugins.errors import describe
from dsn_core.queue import schedule
from dsn_core.runners import heartbeat
from dsn_core.runners.units import Expanding, Sending, Unit
from dsn_core.sending.sender import Work
from dsn_core.triggers.dispatch import trigger_cache

logger = logging.getLogger("dsn_core.run")

_draining: ContextVar[bool] = ContextVar("dsn_draining", default=False)


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


class Loop:
    """One step after the other, in the thread that calls :meth:`run`."""

    def is_next(self) -> bool:
        """Wait until there is a step to do, and return True; False when the loop is to end."""
        raise NotImplementedError

    def step(self) -> Work:
        """Do one step."""
        raise NotImplementedError

    def did(self, work: Work) -> None:
        """Note what came of a step."""
        raise NotImplementedError

    def failed(self, error: BaseException) -> None:
        """Note that a step raised ``error``, or raise it."""
        raise error

    def prepare(self) -> None:
        """Do what comes before each step."""

    def run(self) -> None:
        with draining():
            while self.is_next():
                try:
                    self.prepare()
                    # Plugins fire signals while they send: what triggers say may have changed since the last step.
                    trigger_cache.refresh(patient=True)
                    work = self.step()
                except BaseException as error:
                    self.failed(error)
                else:
                    self.did(work)


@dataclass
class Done:
    """How many events were expanded, and how many deliveries were worked on."""

    events: int = 0
    deliveries: int = 0

    def __bool__(self) -> bool:
        return bool(self.events or self.deliveries)


class Until:
    """The end of a drain: ``seconds`` from now (None: no end), or earlier when ``stop()`` says so."""

    def __init__(self, seconds: float | None = None, stop: Callable[[], bool] = lambda: False) -> None:
        self._end = math.inf if seconds is None else time.monotonic() + seconds
        self._stop = stop

    def is_over(self) -> bool:
        return self._stop() or self.left() <= 0

    def left(self) -> float:
        return self._end - time.monotonic()


class Drain(Loop):
    """Works in the calling thread until nothing is due, or ``until`` is over. Waits for rates, not for pauses.

    What ``first`` raises ends it. ``others()`` is asked in each step; the trouble of one of them is its own.
    """

    def __init__(self, first: Unit, until: Until, others: Callable[[], Iterable[Sending]] = tuple) -> None:
        self.total = Done()
        self._first = first
        self._others = others
        self._until = until
        #: What came of the last step; before the first, work may be due.
        self._last = Work(1)

    def is_next(self) -> bool:
        rest = self._last.rest
        if not self._last.done:
            if rest is None or rest >= self._until.left():
                return False
            _nap(rest, self._until.is_over)
        return not self._until.is_over()

    def step(self) -> Work:
        works = [self._count(self._first)]
        for sending in self._others():
            if self._until.is_over():
                break
            try:
                works.append(self._count(sending))
            except BaseException as error:
                reraise_interrupt(error)
                # The batch stays claimed, and is due again when its lease ends.
                logger.exception("A batch of the messenger %s was given up: %s", sending.alias, describe(error))
        rests = [work.rest for work in works if work.rest is not None]
        return Work(sum(work.done for work in works), min(rests, default=None))

    def _count(self, unit: Unit) -> Work:
        work = unit.step()
        if isinstance(unit, Expanding):
            self.total.events += work.done
        else:
            self.total.deliveries += work.done
        return work

    def did(self, work: Work) -> None:
        self._last = work


def known_messengers(using: str, chosen: Collection[str] | None = None) -> list[str]:
    """Those of the messengers (of ``chosen``, or all) that deliveries were ever made for."""
    known = MessengerState.objects.using(using).order_by("messenger").values_list("messenger", flat=True)
    return [alias for alias in known if chosen is None or alias in chosen]


def drain(using: str, *, seconds: float | None = None, stop: Callable[[], bool] = lambda: False) -> Done:
    """Expand and send all that is due in the database ``using``. See :class:`Drain`."""
    until = Until(seconds, stop)
    sendings: dict[str, Sending] = {}

    def others() -> Iterable[Sending]:
        for alias in known_messengers(using):
            if alias not in sendings:
                sendings[alias] = Sending(alias, using, until.is_over)
        return sendings.values()

    if not until.is_over():
        schedule.make_missing_known(using)
    drain = Drain(Expanding(using, until.is_over), until, others)
    drain.run()
    return drain.total


# The steps that runners of plugins take. See the functions of ``dsn_core`` of the same names.


def expand_due(using: str | None = None, *, seconds: float | None = None) -> int:
    """See :func:`dsn_core.expand_due`."""
    alias, until = using or outbox(), Until(seconds)
    return _drain_one(Expanding(alias, until.is_over), until, alias).events


def send_due(messenger: str, using: str | None = None, *, seconds: float | None = None) -> int:
    """See :func:`dsn_core.send_due`."""
    alias, until = using or outbox(), Until(seconds)
    return _drain_one(Sending(messenger, alias, until.is_over), until, alias).deliveries


def _drain_one(unit: Unit, until: Until, using: str) -> Done:
    heartbeat.beat(using)
    drain = Drain(unit, until)
    drain.run()
    return drain.total


def due_messengers(using: str | None = None) -> list[str]:
    """See :func:`dsn_core.due_messengers`."""
    return schedule.due_messengers(using or outbox())


def _nap(seconds: float, stop: Callable[[], bool]) -> None:
    """Sleep, but hear within a tenth of a second when ``stop()`` says so."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not stop():
        time.sleep(min(left, 0.1))
