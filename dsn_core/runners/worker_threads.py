"""The threads of a worker: one that expands events, and one for each messenger."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from django.db import close_old_connections, connections

from dsn_core.fanout import expander
from dsn_core.plugins.errors import describe
from dsn_core.runners import driver
from dsn_core.sending.sender import Sender, Work
from dsn_core.triggers.dispatch import trigger_cache

logger = logging.getLogger("dsn_core.worker")

#: Seconds between two looks at the tables while there is nothing to do.
POLL_SECONDS = 1.0
#: The same while the database is away, where each look in vain doubles the wait.
LONGEST_POLL = 30.0
#: Seconds of making deliveries after which those who send are told of the first.
TELL_SECONDS = 0.1


def poll_seconds(trouble: int) -> float:
    """How long to wait after so many looks in vain."""
    # Bounded, since the power of a number that grows for hours is one that nothing can hold.
    return min(POLL_SECONDS * float(2 ** min(trouble, 10)), LONGEST_POLL)


def look_after_connections(trouble: int = 0) -> None:
    """Close this thread's connections that broke. A healthy one stays open, however short a request's may live.

    After two failures in a row (``trouble``) all are closed: one that answers, but refuses to write, may lead to a
    server that is a replica by now.
    """
    if trouble >= 2:
        connections.close_all()
    for connection in connections.all(initialized_only=True):
        connection.close_at = None
    close_old_connections()


class Task(Protocol):
    """What a lane does over and over."""

    #: For logs.
    label: str
    #: Part of a lease without a sign of life after which it is given up.
    patience: float

    def step(self) -> Work:
        """Do one claim's work. Raises what goes wrong with the database."""

    def silent_since(self) -> float | None:
        """When the work at hand last showed that it goes on, by ``time.monotonic()``; None while there is none."""

    def is_at_work(self) -> bool:
        """Whether it has claimed something, and does not only look."""

    def is_stuck(self) -> bool:
        """Whether what was done cannot be written down, for now."""

    def give_up(self, seconds: float) -> None:
        """Settle what is at hand in the place of a thread that was silent for ``seconds``. Called by another thread."""


class Sending:
    """Sends by one messenger. Given up while its rows are still its own, so that they can be settled."""

    patience = 0.5

    def __init__(
        self, label: str, alias: str, using: str, stop: Callable[[], bool], *, is_stubborn: bool = False
    ) -> None:
        self.label = label
        #: The messenger (or account).
        self.alias = alias
        self._sender = Sender(alias, using, stop, is_stubborn=is_stubborn)

    def step(self) -> Work:
        return self._sender.work()

    def silent_since(self) -> float | None:
        batch = self._sender.batch
        return None if batch is None else batch.alive_at

    def is_at_work(self) -> bool:
        return self._sender.batch is not None

    def is_stuck(self) -> bool:
        batch = self._sender.batch
        return batch is not None and batch.is_stuck

    def give_up(self, seconds: float) -> None:
        if (batch := self._sender.batch) is not None:
            batch.abandon(
                f"The messenger gave no sign of life for {seconds:.0f} s and was given up: its provider may have taken "
                "the message. Let it keep its TIMEOUT, and yield its receipts one by one."
            )


class Expanding:
    """Expands events. One that hangs in a resolver is taken up again when its lease ends.

    ``tell`` is called now and then while it makes deliveries for many: the first can go out before the last is made.
    """

    patience = 1.0

    def __init__(self, label: str, using: str, stop: Callable[[], bool], tell: Callable[[], None]) -> None:
        self.label = label
        self._stop = stop
        self._tell = tell
        self._expander = expander.Expander(using, self._go_on, self._made)
        self._alive_at: float | None = None
        self._told_at = 0.0

    def step(self) -> Work:
        self._alive_at = self._told_at = time.monotonic()
        try:
            return Work(self._expander.work())
        finally:
            self._alive_at = None

    def _go_on(self) -> bool:
        self._alive_at = time.monotonic()
        return self._stop()

    def _made(self) -> None:
        if time.monotonic() - self._told_at >= TELL_SECONDS:
            self._told_at = time.monotonic()
            self._tell()

    def silent_since(self) -> float | None:
        return self._alive_at

    def is_at_work(self) -> bool:
        return self._expander.is_at_work

    def is_stuck(self) -> bool:
        return False

    def give_up(self, seconds: float) -> None:
        """Give back the events that were not begun. The lease of the one that hangs ends, and its attempt counts."""
        self._expander.give_back_rest()


class Lane:
    """A thread that does one task until it is to stop. A daemon: one that hangs does not keep its process from ending.

    ``told`` is called in the lane's thread after each step that did something.
    """

    def __init__(self, task: Task, stop: Callable[[], bool], told: Callable[[], None]) -> None:
        self.task = task
        self.done = 0
        #: What went wrong at the last step.
        self.error: BaseException | None = None
        #: When it began, or last did something, by ``time.monotonic()``.
        self.active_at = time.monotonic()
        #: How often any lane had done something when this one last looked and found nothing; None: it is at work.
        self.idle_at: int | None = None
        self.is_given_up = False
        #: Whether it waits for its messenger's rate.
        self._rests = False
        self._stop = stop
        self._told = told
        self._generation: Callable[[], int] = lambda: 0
        self._wakeup = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"dsn {task.label}", daemon=True)

    def start(self, generation: Callable[[], int]) -> None:
        self._generation = generation
        self._thread.start()

    def wake(self) -> None:
        """Look at the tables now. Not for signal handlers: it takes a lock."""
        self._wakeup.set()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def join(self, seconds: float) -> bool:
        """Wait for its end; return whether it came."""
        self._thread.join(max(seconds, 0))
        return not self._thread.is_alive()

    def silence(self) -> float:
        """Seconds since the work at hand last showed that it goes on; 0 while there is none."""
        since = self.task.silent_since()
        return 0.0 if since is None else time.monotonic() - since

    def can_work(self) -> bool:
        """Whether nothing is wrong with the database, as far as its last step and the one at hand tell."""
        return self.error is None and not self.task.is_stuck()

    def is_active(self, seconds: float) -> bool:
        """Whether it is at work, waits for its messenger's rate, or did something within so many seconds."""
        return self.task.is_at_work() or self._rests or time.monotonic() - self.active_at < seconds

    def give_up(self) -> None:
        """Leave the thread to itself, and settle what it was at."""
        self.is_given_up = True
        seconds = self.silence()
        logger.error("The %s is given up after %.0f s without a sign of life; others go on.", self.task.label, seconds)
        self.task.give_up(seconds)

    def _is_over(self) -> bool:
        return self.is_given_up or self._stop()

    def _run(self) -> None:
        with driver.draining():
            try:
                self._work()
            finally:
                connections.close_all()

    def _work(self) -> None:
        trouble = 0
        while not self._is_over():
            self._wakeup.clear()
            generation = self._generation()
            wait = POLL_SECONDS
            try:
                look_after_connections(trouble)
                # Sending fires signals, too: what triggers say may have changed since the last claim.
                trigger_cache.refresh(patient=True)
                work = self.task.step()
                trouble, self.error, self._rests = 0, None, work.rest is not None
                if work.done:
                    self.active_at = time.monotonic()
                    self.done += work.done
                    self._told()
                    continue
                self.idle_at = generation if work.rest is None else None
                wait = POLL_SECONDS if work.rest is None else work.rest
            except BaseException as error:
                # A plugin's SystemExit or CancelledError, too, would end the lane, and nobody would send any more.
                trouble, self.error = trouble + 1, error
                wait = poll_seconds(trouble)
                logger.error(
                    "The %s could not go on, and tries again: %s. If a table or column is missing, run migrate.",
                    self.task.label,
                    describe(error),
                )
            self._wakeup.wait(wait)
            self.idle_at = None
