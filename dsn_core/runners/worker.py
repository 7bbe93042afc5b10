"""The runner for production: processes of their own, which need nothing but the database."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from dsn_core import conf
from dsn_core.contracts.runners import BaseRunner
from dsn_core.plugins.errors import describe
from dsn_core.queue import environment, schedule
from dsn_core.runners import driver, notices
from dsn_core.runners.heartbeat import Heartbeat
from dsn_core.runners.worker_threads import Expanding, Lane, Sending, Task, look_after_connections, poll_seconds
from dsn_core.sending import sender
from dsn_core.sending.sender import connections_of
from dsn_core.triggers.dispatch import trigger_cache

logger = logging.getLogger("dsn_core.worker")

#: Seconds after which SIGTERM waits no longer for a messenger. Supervisors kill after 30 (Kubernetes) or more.
GRACE_SECONDS = 20.0
#: Threads with the same task that hang, after which it gets no other, and the worker ends.
MOST_HANGING = 4
#: Seconds for which deliveries are due, and those who should send them do nothing, before the worker calls itself ill.
LATE_SECONDS = 30.0


class WorkerRunner(BaseRunner):
    """Leaves the sending to 'manage.py dsn_worker'."""

    name = "worker"

    def wake(self, using: str) -> None:
        """Tell the workers. Should they not hear it, they find the work at their next look."""
        notices.send(using)


class Worker:
    """What ``dsn_worker`` runs: lanes for the fan-out and for each messenger, and this thread, which watches over them.

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
        #: Whether it cannot go on, and has to be started anew.
        self.is_failed = False
        self._stopping = False
        self._is_over = False
        #: By the label of their task; and those that were given up.
        self._lanes: dict[str, Lane] = {}
        self._given_up: list[Lane] = []
        #: How often a lane has done something, and that number when this thread last saw to the lanes.
        self._generation = 0
        self._cared_at = -1
        #: The messengers that were late at the last look.
        self._late: set[str] = set()
        self._counting = threading.Lock()
        self._news = threading.Event()
        self._heartbeat = Heartbeat(using)
        self._has_begun = False

    def stop(self) -> None:
        """Finish the messages at hand, give the rest back, then end. Safe in a signal handler: it takes no lock."""
        self._stopping = True

    def is_stopping(self) -> bool:
        return self._stopping or self._is_over

    @property
    def progress(self) -> driver.Progress:
        """What was done so far."""
        progress = driver.Progress()
        for lane in [*self._lanes.values(), *self._given_up]:
            if isinstance(lane.task, Expanding):
                progress.events += lane.done
            else:
                progress.deliveries += lane.done
        return progress

    def watch(self) -> driver.Progress:
        """Work whenever something is due, until asked to stop. A database that is away is waited for."""
        return self._run(lambda: False, is_patient=True)

    def drain(self, shown: Callable[[driver.Progress], None] = lambda progress: None) -> driver.Progress:
        """Work until nothing is due, or until asked to stop. Raises what the database raises.

        ``shown`` is called with the progress, some times a second.
        """

        def is_done() -> bool:
            shown(self.progress)
            lanes, generation = list(self._lanes.values()), self._generation
            for lane in lanes:
                if lane.error is not None:
                    raise lane.error
            if any(lane.idle_at is None for lane in lanes):
                return False
            # Whoever did something may have made work for others: all have to find nothing after that.
            if self._cared_at == generation and all(lane.idle_at == generation for lane in lanes):
                return True
            self._wake()
            return False

        return self._run(is_done, is_patient=False)

    def _run(self, is_done: Callable[[], bool], *, is_patient: bool) -> driver.Progress:
        notices.Listener(self.using, self._wake, self.is_stopping).start()
        trouble = 0
        try:
            while not self._stopping:
                self._news.clear()
                try:
                    look_after_connections(trouble)
                    self._care(is_patient=is_patient)
                    trouble = 0
                except Exception as error:
                    if not is_patient:
                        raise
                    trouble += 1
                    logger.error("The worker could not go on, and tries again: %s", describe(error))
                if is_done() or self._wait(poll_seconds(trouble), is_done):
                    break
        finally:
            self._end()
        return self.progress

    def _care(self, *, is_patient: bool) -> None:
        """See that all that is to be done has its lane, that none hangs, and that triggers are known as they are."""
        generation = self._generation
        self._heartbeat.beat()
        if not self._has_begun:
            # It says where nothing may be sent, also while nothing is due.
            environment.may_work(environment.remembered_in(self.using), self.using)
            self._has_begun = True
        trigger_cache.refresh()
        schedule.make_missing_known(self.using)
        self._see_to("fan-out", partial(Expanding, using=self.using, stop=self.is_stopping, tell=self._wake))
        for alias in driver.known_messengers(self.using, self.messengers):
            make = partial(Sending, alias=alias, using=self.using, stop=self.is_stopping, is_stubborn=is_patient)
            for number in range(1, connections_of(alias) + 1):
                label = f"messenger {alias}" if number == 1 else f"messenger {alias} ({number})"
                self._see_to(label, make)
        lease = conf.current().LEASE_SECONDS
        for label, lane in list(self._lanes.items()):
            if lane.silence() > lane.task.patience * lease:
                del self._lanes[label]
                self._given_up.append(lane)
                lane.give_up()
                # What it gave back is due.
                self._did_something()
        self._cared_at = generation
        if self.health_file is not None and self._is_well():
            self.health_file.touch()

    def _is_well(self) -> bool:
        """Whether this worker does its work, as those threads tell that do it, and as the oldest due delivery tells."""
        lanes = list(self._lanes.values())
        if self.is_failed or not all(lane.can_work() for lane in lanes):
            return False
        makes_more = any(isinstance(lane.task, Expanding) and lane.is_active(LATE_SECONDS) for lane in lanes)
        active = {lane.task.alias for lane in lanes if isinstance(lane.task, Sending) and lane.is_active(LATE_SECONDS)}
        unmade = sender.unmade()
        late = {
            alias
            for alias, seconds in schedule.seconds_overdue(self.using).items()
            if seconds > LATE_SECONDS
            and alias not in active
            # Another worker may have it. It was logged, and beginning anew does not help.
            and alias not in unmade
            and (self.messengers is None or alias in self.messengers)
            # A call of the seed's way waits for all of its event's deliveries.
            and not makes_more
        }
        for alias in late - self._late:
            logger.error("The messenger %s sends nothing of what is due for more than %d s.", alias, LATE_SECONDS)
        self._late = late
        return not late

    def _see_to(self, label: str, make: Callable[[str], Task]) -> None:
        lane = self._lanes.get(label)
        if lane is not None and lane.is_alive():
            return
        if lane is not None:
            logger.error("The thread of the %s ended by itself; another one takes its place.", label)
            self._given_up.append(self._lanes.pop(label))
        if sum(lane.task.label == label and lane.is_alive() for lane in self._given_up) >= MOST_HANGING:
            logger.error(
                "%d threads of the %s hang: this worker ends, so that it can be started anew.", MOST_HANGING, label
            )
            self.is_failed = True
            self.stop()
            return
        task = make(label)
        # What expands makes work for those that send; what sends makes none that nobody is told of.
        told = self._made_work if isinstance(task, Expanding) else self._did_something
        lane = self._lanes[label] = Lane(task, self.is_stopping, told)
        lane.start(lambda: self._generation)

    def _did_something(self) -> None:
        with self._counting:
            self._generation += 1

    def _made_work(self) -> None:
        self._did_something()
        self._wake()

    def _wake(self) -> None:
        for lane in list(self._lanes.values()):
            lane.wake()
        # This thread, too: a messenger may be new.
        self._news.set()

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
        """Let the lanes finish what they are at; what does not come to an end is given up."""
        self._is_over = True
        self._wake()
        end = time.monotonic() + GRACE_SECONDS
        for lane in self._lanes.values():
            if lane.join(end - time.monotonic()):
                continue
            try:
                lane.give_up()
            except Exception as error:
                logger.error("The %s is left to the end of its lease: %s", lane.task.label, describe(error))
