"""The loop that every runner runs: in the calling thread, or in a worker's threads."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial

from dsn_core.fanout.expander import Expander
from dsn_core.intake.record import outbox
from dsn_core.models import MessengerState
from dsn_core.plugins.calls import reraise_interrupt
from dsn_core.plugins.errors import describe
from dsn_core.queue import schedule
from dsn_core.runners import heartbeat
from dsn_core.sending.sender import Sender
from dsn_core.triggers.dispatch import trigger_cache

logger = logging.getLogger("dsn_core.run")

_draining: ContextVar[bool] = ContextVar("dsn_draining", default=False)


def is_draining() -> bool:
    """Whether a loop of ours is at work below: it finds by itself what is recorded meanwhile."""
    return _draining.get()


@contextlib.contextmanager
def draining() -> Iterator[None]:
    """Within this block the loop around it finds what is recorded: no runner has to be woken."""
    token = _draining.set(True)
    try:
        yield
    finally:
        _draining.reset(token)


class Loop(ABC):
    """One step after the other, in the thread that calls :meth:`run`."""

    @abstractmethod
    def is_next(self) -> bool:
        """Wait until there is a step to do, and return True; False when the loop is to end."""

    @abstractmethod
    def step(self) -> None:
        """Do one step."""

    def failed(self, error: BaseException) -> None:
        """Note that a step, or waiting for it, raised ``error``; or raise it."""
        raise error

    def run(self) -> None:
        with draining():
            while True:
                try:
                    if not self.is_next():
                        return
                    # Plugins fire signals while they send: what triggers say may have changed since the last step.
                    trigger_cache.refresh(patient=True)
                    self.step()
                except BaseException as error:
                    self.failed(error)


@dataclass
class Done:
    """How many events were expanded, and how many deliveries were worked on."""

    events: int = 0
    deliveries: int = 0

    def __bool__(self) -> bool:
        return bool(self.events or self.deliveries)


class Drain(Loop):
    """Works in the calling thread until nothing is due, ``seconds`` have passed or ``stop()`` says so.

    ``messengers()`` is asked in each step by which to send; where it also expands events, the trouble of one of them is
    its own. Waits for rates, not for pauses.
    """

    def __init__(
        self,
        using: str,
        messengers: Callable[[], Iterable[str]] = tuple,
        *,
        expands: bool = True,
        seconds: float | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.done = Done()
        self._using = using
        self._expander = Expander(using, self.is_over) if expands else None
        self._messengers = messengers
        self._senders: dict[str, Sender] = {}
        self._stop = stop
        self._end = math.inf if seconds is None else time.monotonic() + seconds
        #: Seconds after which a rate lets more go, 0.0 while more may be due, None when nothing is.
        self._rest: float | None = 0.0

    def is_over(self) -> bool:
        return self._stop() or time.monotonic() >= self._end

    def is_next(self) -> bool:
        if self._rest is None or (self._rest and time.monotonic() + self._rest >= self._end):
            return False
        nap_until = time.monotonic() + self._rest
        while not (is_over := self.is_over()) and (left := nap_until - time.monotonic()) > 0:
            # In short steps, so that it is soon seen that it is over.
            time.sleep(min(left, 0.1))
        return not is_over

    def step(self) -> None:
        found = self._expander.work() if self._expander is not None else 0
        self.done.events += found
        rests: list[float] = []
        for alias in self._messengers():
            if self.is_over():
                break
            if alias not in self._senders:
                self._senders[alias] = Sender(alias, self._using, self.is_over)
            try:
                work = self._senders[alias].work()
            except BaseException as error:
                reraise_interrupt(error)
                if self._expander is None:
                    raise
                # The batch stays claimed, and is due again when its lease ends.
                logger.exception("A batch of the messenger %s was given up: %s", alias, describe(error))
                continue
            self.done.deliveries += work.done
            found += work.done
            if work.rest is not None:
                rests.append(work.rest)
        self._rest = 0.0 if found else min(rests, default=None)


def known_messengers(using: str, chosen: Collection[str] | None = None) -> list[str]:
    """Those of the messengers (of ``chosen``, or all) that deliveries were ever made for."""
    known = MessengerState.objects.using(using).order_by("messenger").values_list("messenger", flat=True)
    return [alias for alias in known if chosen is None or alias in chosen]


def drain(using: str, *, seconds: float | None = None, stop: Callable[[], bool] = lambda: False) -> Done:
    """Expand and send all that is due in the database ``using``. See :class:`Drain`."""
    drain = Drain(using, partial(known_messengers, using), seconds=seconds, stop=stop)
    if not drain.is_over():
        schedule.make_missing_known(using)
    drain.run()
    return drain.done


# The steps that runners of plugins take. See the functions of ``dsn_core`` of the same names.


def expand_due(using: str | None = None, *, seconds: float | None = None) -> int:
    """See :func:`dsn_core.expand_due`."""
    heartbeat.beat(alias := using or outbox())
    drain = Drain(alias, seconds=seconds)
    drain.run()
    return drain.done.events


def send_due(messenger: str, using: str | None = None, *, seconds: float | None = None) -> int:
    """See :func:`dsn_core.send_due`."""
    heartbeat.beat(alias := using or outbox())
    drain = Drain(alias, lambda: (messenger,), expands=False, seconds=seconds)
    drain.run()
    return drain.done.deliveries


def due_messengers(using: str | None = None) -> list[str]:
    """See :func:`dsn_core.due_messengers`."""
    return schedule.due_messengers(using or outbox())
