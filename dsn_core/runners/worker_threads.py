"""The threads of a worker, in pools: those of one pool do the same kind of work."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable

from django.db import connections

from dsn_core.fanout.expander import Expander
from dsn_core.plugins.errors import describe
from dsn_core.runners.driver import draining, look_after_connections
from dsn_core.sending.handing_over import ProviderConnections
from dsn_core.sending.sender import QUICK_SECONDS, Sender
from dsn_core.triggers.dispatch import trigger_cache

logger = logging.getLogger("dsn_core.worker")

#: Seconds between two looks for work while there is nothing to do.
POLL_SECONDS = 1.0
#: The same while the database is away, where each look in vain doubles the wait.
LONGEST_POLL = 30.0
#: Threads of a pool that hang, for each unit it does at the same time, after which it gets no other.
MOST_HANGING = 4
TROUBLE = "The %s could not go on, and tries again: %s. If a table or column is missing, run migrate."


def poll_seconds(trouble: int) -> float:
    """How long to wait after so many looks in vain."""
    # Bounded, since the power of a number that grows for hours is one that nothing can hold.
    return min(POLL_SECONDS * float(2 ** min(trouble, 10)), LONGEST_POLL)


class Pool:
    """Threads that do the same kind of work. One of them at a time looks for it, so that many ask no more than one.

    The one that found some lets the next look. As many work at the same time as there are connections to the provider;
    more join in only while the work is done quickly: what takes long is better left to another worker. ``make`` makes a
    unit, with ``claimed`` and ``connections`` of :class:`~dsn_core.sending.sender.Sender`. ``told`` is called in a
    thread after each step that did something, and ``generation()`` says how often any pool did.
    """

    def __init__(
        self,
        label: str,
        make: Callable[..., Expander | Sender],
        stop: Callable[[], bool],
        told: Callable[[], None],
        generation: Callable[[], int],
    ) -> None:
        #: For logs.
        self.label = label
        self.connections = ProviderConnections()
        self.make = make
        self.stop = stop
        self.told = told
        self.generation = generation
        self._threads: list[WorkerThread] = []
        self._given_up: list[WorkerThread] = []
        self._idle_at: int | None = None
        #: Whether the last step of any of its threads failed.
        self._is_failing = False
        self._lock = threading.Lock()
        #: Notified for the thread that looks when it is to look now, and for the others when none looks any more.
        self._is_time = threading.Condition(self._lock)
        self._is_free = threading.Condition(self._lock)
        self._looking: WorkerThread | None = None
        self._look_at = 0.0
        self._at_work: set[WorkerThread] = set()
        self._is_quick = False

    # For the thread that watches

    def fill(self, threads: int, connections: int) -> bool:
        """Start what is missing to so many threads; return False where too many hang."""
        self.connections.number = connections
        for thread in [thread for thread in self._threads if not thread.is_alive()]:
            logger.error("The thread of the %s ended by itself; another one takes its place.", self.label)
            self._remove(thread)
        while len(self._threads) < threads:
            hanging = sum(thread.is_alive() for thread in self._given_up)
            if hanging >= MOST_HANGING * connections:
                logger.error(
                    "%d threads of the %s hang: this worker ends, so that it can be started again.", hanging, self.label
                )
                return False
            self._threads.append(WorkerThread(self))
            self._threads[-1].start()
        return True

    def give_up_silent(self, lease: float) -> bool:
        """Give up the threads whose work shows no sign of life; return whether there was one."""
        silent = [thread for thread in self._threads if thread.silence() > thread.unit.patience * lease]
        for thread in silent:
            self._remove(thread)
            thread.give_up()
        return bool(silent)

    def _remove(self, thread: WorkerThread) -> None:
        self._threads.remove(thread)
        self._given_up.append(thread)
        with self._lock:
            self._at_work.discard(thread)
            self._look_at = 0.0
            self._pass_on(thread)

    def wake(self) -> None:
        """Let one thread look for work now. Not for signal handlers: it takes a lock."""
        with self._lock:
            self._look_at = 0.0
            self._is_time.notify()

    def end(self) -> None:
        """Let all threads see that they are to end."""
        with self._lock:
            self._is_time.notify_all()
            self._is_free.notify_all()

    def join(self, end: float) -> None:
        """Wait for the end of its threads, until that moment; give up those that are still at work then."""
        for thread in self._threads:
            thread.join(max(end - time.monotonic(), 0))
            if not thread.is_alive():
                continue
            try:
                thread.give_up()
            except Exception as error:
                logger.error("The %s is left to the end of its lease: %s", self.label, describe(error))

    @property
    def idle_at(self) -> int | None:
        """The generation in which it was last looked in vain; None while it is looked, or a thread is at work."""
        return None if self._at_work else self._idle_at

    def can_work(self) -> bool:
        """Whether nothing is wrong with the database, as far as the last step and those at hand tell."""
        return not self._is_failing and not any(thread.unit.is_stuck() for thread in self._threads)

    def is_active(self, seconds: float) -> bool:
        """Whether one is at work, waits for its messenger's rate, or did something within so many seconds."""
        since = time.monotonic() - seconds
        return any(
            thread.rests or thread.active_at > since or thread.unit.silent_since() is not None
            for thread in self._threads
        )

    def raise_error(self) -> None:
        """Raise what went wrong in one of its threads, if anything ever did."""
        for thread in self._threads:
            if thread.error is not None:
                raise thread.error

    @property
    def done(self) -> int:
        """How much its threads did so far."""
        return sum(thread.done for thread in [*self._threads, *self._given_up])

    # For its threads

    def begin_look(self, thread: WorkerThread) -> int | None:
        """Wait until ``thread`` is to look for work; return the generation of the look, None when it is to end."""
        with self._lock:
            while not thread.is_over():
                if self._looking is None:
                    self._looking = thread
                if self._looking is not thread:
                    self._is_free.wait()
                    continue
                # While all connections have work that takes long, the end of that work wakes it.
                is_busy = len(self._at_work) >= self.connections.number and not self._is_quick
                seconds = POLL_SECONDS if is_busy else self._look_at - time.monotonic()
                if seconds <= 0:
                    # A wake-up while it looks is for the look after that.
                    self._look_at, self._idle_at = math.inf, None
                    return self.generation()
                self._is_time.wait(seconds)
            self._pass_on(thread)
            return None

    def claimed(self, thread: WorkerThread, next_look: float | None) -> None:
        """``thread`` found work: let the next look, after so many seconds."""
        with self._lock:
            self._at_work.add(thread)
            self._look_again(next_look)
            self._pass_on(thread)

    def found_nothing(self, generation: int, rest: float | None) -> None:
        """It was looked in vain, but for what waits ``rest`` seconds for a rate."""
        with self._lock:
            self._is_failing = False
            self._idle_at = generation if rest is None else None
            self._look_again(rest)

    def worked(self, thread: WorkerThread, seconds: float) -> None:
        """``thread`` has done what it claimed, in so many seconds: it is looked whether there is more."""
        with self._lock:
            self._at_work.discard(thread)
            self._is_failing = False
            self._is_quick = seconds < QUICK_SECONDS
            self._look_at = 0.0
            self._is_time.notify()

    def failed(self, thread: WorkerThread, seconds: float) -> None:
        """``thread`` could not go on: the database may be away. It is looked again after so many seconds."""
        with self._lock:
            self._at_work.discard(thread)
            self._is_failing = True
            self._look_again(seconds)

    def _look_again(self, seconds: float | None) -> None:
        self._look_at = min(self._look_at, time.monotonic() + (POLL_SECONDS if seconds is None else seconds))

    def _pass_on(self, thread: WorkerThread) -> None:
        if self._looking is thread:
            self._looking = None
            self._is_free.notify()


class WorkerThread(threading.Thread):
    """A thread that takes steps of one unit. A daemon: one that hangs does not keep its process from ending."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(name=f"dsn {pool.label}", daemon=True)
        self.unit = pool.make(claimed=self._claimed, connections=pool.connections)
        self.done = 0
        #: What last went wrong.
        self.error: BaseException | None = None
        #: When it began, or last did something, by ``time.monotonic()``.
        self.active_at = time.monotonic()
        #: Whether it waits for its messenger's rate.
        self.rests = False
        self._pool = pool
        self._is_given_up = False
        self._claimed_at: float | None = None

    # For the thread that watches

    def silence(self) -> float:
        """Seconds since the work at hand last showed that it goes on; 0 while there is none."""
        since = self.unit.silent_since()
        return 0.0 if since is None else time.monotonic() - since

    def give_up(self) -> None:
        """Leave the thread to itself, and settle what it was at."""
        self._is_given_up = True
        seconds = self.silence()
        said = "The %s is given up after %.0f s without a sign of life; others go on."
        logger.error(said, self._pool.label, seconds)
        self.unit.give_up(seconds)

    # The thread itself

    def is_over(self) -> bool:
        return self._is_given_up or self._pool.stop()

    def run(self) -> None:
        trouble, goes_on = 0, True
        try:
            with draining():
                while goes_on:
                    try:
                        goes_on = self._step(trouble)
                        trouble = 0
                    except BaseException as error:
                        # A plugin's SystemExit, too, would end the thread, and nothing would be sent any more.
                        trouble, self.error = trouble + 1, error
                        logger.error(TROUBLE, self._pool.label, describe(error))
                        self._pool.failed(self, poll_seconds(trouble))
        finally:
            connections.close_all()

    def _step(self, trouble: int) -> bool:
        """Wait until there is something to do, and do it; return False when the thread is to end instead."""
        generation = self._pool.begin_look(self)
        if generation is None:
            return False
        self._claimed_at = None
        look_after_connections(trouble)
        # Plugins fire signals while they send: what triggers say may have changed since the last step.
        trigger_cache.refresh(patient=True)
        work = self.unit.work()
        self.rests = work.rest is not None
        now = time.monotonic()
        if work.done:
            self.active_at = now
            self.done += work.done
            self._pool.told()
        if work.done or self._claimed_at is not None:
            self._pool.worked(self, 0.0 if self._claimed_at is None else now - self._claimed_at)
        else:
            self._pool.found_nothing(generation, work.rest)
        return True

    def _claimed(self, next_look: float | None) -> None:
        self._claimed_at = time.monotonic()
        self._pool.claimed(self, next_look)
