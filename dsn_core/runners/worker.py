"""The runner for production: processes of their own, which need nothing but the database."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path

from dsn_core import conf
from dsn_core.contracts.runners import BaseRunner
from dsn_core.fanout.expander import Expander
from dsn_core.plugins.errors import describe
from dsn_core.queue import environment, schedule
from dsn_core.runners import driver, notices
from dsn_core.runners.driver import Done, look_after_connections
from dsn_core.runners.heartbeat import Heartbeat
from dsn_core.runners.worker_threads import Pool, poll_seconds
from dsn_core.sending import sender

logger = logging.getLogger("dsn_core.worker")

#: Seconds after which SIGTERM waits no longer for a messenger. Supervisors kill after 30 (Kubernetes) or more.
GRACE_SECONDS = 20.0
#: Seconds for which deliveries are due, and the threads that send them do nothing, before the worker calls itself ill.
LATE_SECONDS = 30.0


class WorkerRunner(BaseRunner):
    """Leaves the sending to 'manage.py dsn_worker'."""

    name = "worker"

    def wake(self, using: str) -> None:
        """Tell the workers. Should they not hear it, they find the work at their next look."""
        notices.send(using)


class Worker:
    """What ``dsn_worker`` runs: threads for the fan-out and for each messenger, and this one, which watches over them.

    A messenger that is slow, or hangs, holds up no other: see :mod:`~dsn_core.runners.worker_threads`.
    """

    def __init__(
        self,
        using: str,
        messengers: Collection[str] | None = None,
        health_file: Path | None = None,
        parent: int | None = None,
    ) -> None:
        self.using = using
        self.messengers = messengers
        self.health_file = health_file
        #: The process whose end is to be this one's.
        self._parent = parent
        #: Whether it cannot go on, and has to be started again.
        self.is_failed = False
        self._stopping = False
        self._is_over = False
        #: Whether a database that is away is waited for.
        self._is_patient = True
        #: How often a thread has done something, and that number when this one last saw to the pools.
        self._generation = 0
        self._filled_at = -1
        self._counting = threading.Lock()
        self._news = threading.Event()
        self._fan_out = self._pool(
            "fan-out", lambda **given: Expander(using, self.is_stopping, self._tell), self._made_work
        )
        #: By messenger.
        self._senders: dict[str, Pool] = {}
        #: The messengers that were late at the last look.
        self._late: set[str] = set()
        self._heartbeat = Heartbeat(using)
        self._has_begun = False
        self._next_care = 0.0

    def stop(self) -> None:
        """Finish the messages at hand, give the rest back, then end. Safe in a signal handler: it takes no lock."""
        self._stopping = True

    def is_stopping(self) -> bool:
        return self._stopping or self._is_over

    @property
    def done(self) -> Done:
        """What was done so far."""
        sent = sum(pool.done for pool in list(self._senders.values()))
        return Done(self._fan_out.done, sent)

    def watch(self) -> Done:
        """Work whenever something is due, until asked to stop. A database that is away is waited for."""
        return self._run(lambda: False)

    def drain(self, shown: Callable[[Done], None] = lambda done: None) -> Done:
        """Work until nothing is due, or until asked to stop. Raises what the database raises.

        ``shown`` is called with what was done, some times a second.
        """
        self._is_patient = False

        def is_done() -> bool:
            shown(self.done)
            pools, generation = self._pools(), self._generation
            for pool in pools:
                pool.raise_error()
            idle_at = [pool.idle_at for pool in pools]
            if None in idle_at:
                return False
            # What was done may have made work for others: all have to find nothing after that.
            if self._filled_at == generation and all(when == generation for when in idle_at):
                return True
            self._tell()
            return False

        return self._run(is_done)

    def _run(self, is_done: Callable[[], bool]) -> Done:
        notices.listen(self.using, self._wake, self.is_stopping)
        trouble = 0
        try:
            while not self._stopping:
                self._news.clear()
                try:
                    look_after_connections(trouble)
                    if is_time := time.monotonic() >= self._next_care:
                        self._care()
                    self._fill_pools()
                    if is_time and self.health_file is not None and self._is_well():
                        self.health_file.touch()
                    trouble = 0
                except Exception as error:
                    if not self._is_patient:
                        raise
                    trouble += 1
                    logger.error("The worker could not go on, and tries again: %s", describe(error))
                if is_done() or self._wait(poll_seconds(trouble), is_done):
                    break
        finally:
            self._end()
        return self.done

    def _fill_pools(self) -> None:
        """See that all that is to be done has its threads."""
        generation = self._generation
        for pool, threads, connections in self._wanted():
            if not pool.fill(threads, connections):
                self.is_failed = True
                self.stop()
        self._filled_at = generation

    def _wanted(self) -> Iterator[tuple[Pool, int, int]]:
        yield self._fan_out, 1, 1
        for alias in driver.known_messengers(self.using, self.messengers):
            if alias not in self._senders:
                make = partial(sender.Sender, alias, self.using, self.is_stopping, is_stubborn=self._is_patient)
                self._senders[alias] = self._pool(f"messenger {alias}", make, self._did_something)
            yield self._senders[alias], *sender.threads_of(alias)

    def _care(self) -> None:
        """Show that this worker is there, give up what hangs, and see that every messenger with deliveries is known."""
        self._heartbeat.beat()
        if not self._has_begun:
            # It says where nothing may be sent, also while nothing is due.
            environment.may_work(environment.remembered_in(self.using), self.using)
            self._has_begun = True
        schedule.make_missing_known(self.using)
        lease = conf.current().LEASE_SECONDS
        for pool in self._pools():
            if pool.give_up_silent(lease):
                # What it gave back is due.
                self._did_something()
        self._next_care = time.monotonic() + poll_seconds(0)

    def _is_well(self) -> bool:
        """Whether this worker does its work, as those threads tell that do it, and as the oldest due delivery tells."""
        if self.is_failed or not all(pool.can_work() for pool in self._pools()):
            return False
        if self._fan_out.is_active(LATE_SECONDS):
            # A call of the seed's way waits for all of its event's deliveries.
            self._late = set()
            return True
        # Another worker may have what this one cannot make. It was logged, and beginning again does not help.
        excused = {*sender.unmade(), *(alias for alias, pool in self._senders.items() if pool.is_active(LATE_SECONDS))}
        late = {
            alias
            for alias, seconds in schedule.seconds_overdue(self.using).items()
            if seconds > LATE_SECONDS and alias not in excused and (self.messengers is None or alias in self.messengers)
        }
        for alias in late - self._late:
            logger.error("The messenger %s sends nothing of what is due for more than %d s.", alias, LATE_SECONDS)
        self._late = late
        return not late

    def _pools(self) -> list[Pool]:
        return [self._fan_out, *self._senders.values()]

    def _pool(self, label: str, make: Callable[..., Expander | sender.Sender], told: Callable[[], None]) -> Pool:
        return Pool(label, make, self.is_stopping, told, lambda: self._generation)

    def _did_something(self) -> None:
        with self._counting:
            self._generation += 1

    def _made_work(self) -> None:
        self._did_something()
        self._tell()

    def _tell(self) -> None:
        """There are new deliveries, maybe of a new messenger."""
        self._wake()
        self._news.set()

    def _wake(self) -> None:
        for pool in self._pools():
            pool.wake()

    def _wait(self, seconds: float, is_done: Callable[[], bool]) -> bool:
        """Wait for news; return whether there is no more to wait for."""
        # In short steps: a signal handler may not set what is waited for here.
        end = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < end and not self._news.wait(0.1):
            if self._parent is not None and os.getppid() != self._parent:
                logger.error("The process that started this worker is gone, and so it ends.")
                self.stop()
            if is_done():
                return True
        return False

    def _end(self) -> None:
        """Let the threads finish what they are at; what does not come to an end is given up."""
        self._is_over = True
        end = time.monotonic() + GRACE_SECONDS
        for pool in self._pools():
            pool.end()
        for pool in self._pools():
            pool.join(end)
