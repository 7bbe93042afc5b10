"""The backlog of events that the database did not accept in time, which a thread keeps trying to store.

It is in memory only, and lost when the process is killed. So it is the last resort, and small.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from django.db import Error, connections

from dsn_core import context, savepoints
from dsn_core._thread_state import drop as drop_connection
from dsn_core.database_errors import will_pass
from dsn_core.intake.storing import NewEvent, store
from dsn_core.intake.trouble import drop
from dsn_core.models import Event
from dsn_core.plugins.errors import describe

logger = logging.getLogger("dsn_core.intake")

#: Events, and characters of their payloads, that may wait at the same time.
MAX_EVENTS: Final = 10_000
MAX_CHARACTERS: Final = 64_000_000
#: Seconds after which waiting events are given up.
MAX_SECONDS: Final = 900.0
#: Seconds between two attempts: at first, at most, and while the process ends.
FIRST_PAUSE: Final = 0.1
LAST_PAUSE: Final = 5.0
EXIT_PAUSE: Final = 0.1
#: Seconds for one attempt, and for all attempts while the process ends.
ATTEMPT_SECONDS: Final = 2.0
EXIT_SECONDS: Final = 5.0


@dataclass(eq=False)
class Lot:
    """Events that are stored together, all or none, and the reason why they were not stored yet."""

    events: Sequence[NewEvent]
    using: str
    reason: str
    since: float = field(default_factory=time.monotonic)

    @property
    def characters(self) -> int:
        return sum(len(event.payload) for event in self.events)


class Backlog:
    """A queue of lots, and the thread that stores them. The thread exists only while lots wait."""

    def __init__(self) -> None:
        self._lots: deque[Lot] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._events = self._characters = 0
        self._is_ending = self._is_over = False
        #: Held by the thread during database calls: a driver that a fork copies in the middle may hang the child.
        self._asking = threading.RLock()
        self._is_held_for_fork = False

    def is_busy(self) -> bool:
        return bool(self._lots)

    def put(self, lot: Lot) -> None:
        """Have the thread store ``lot``, or drop it when there is no room."""
        if not lot.events:
            return
        events, characters = len(lot.events), lot.characters
        with self._changed:
            has_room = self._events + events <= MAX_EVENTS and self._characters + characters <= MAX_CHARACTERS
            # A single lot larger than the limit is accepted: it is in memory already.
            is_taken = (has_room or not self._lots) and self._has_thread(lot.reason)
            if is_taken:
                self._lots.append(lot)
                self._events += events
                self._characters += characters
                self._changed.notify_all()
        if not is_taken:
            drop(lot.events, lot.using, f"no room is left to wait: {lot.reason}")

    def wait(self, seconds: float) -> bool:
        """Wait up to ``seconds`` until no lot waits, and return whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: self._thread is None and not self._lots, seconds)

    def _has_thread(self, reason: str) -> bool:
        """Start the thread if there is none, and return whether there is one."""
        if self._is_over:
            return False
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="dsn backlog", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                # The interpreter ends, or there are too many threads.
                return False
            self._thread = thread
            logger.warning("The database refused events. They are kept in this process, and tried again: %s", reason)
        return True

    def _run(self) -> None:
        try:
            while not self._is_done():
                self._work_off()
                with self._asking, contextlib.suppress(Error):
                    connections.close_all()
        finally:
            with self._changed:
                # If an error ended this thread, the next one takes the rest.
                if self._thread is threading.current_thread():
                    self._thread = None

    def _is_done(self) -> bool:
        """Whether no lot waits. If so, this thread is no longer the backlog's."""
        with self._changed:
            if self._lots:
                return False
            self._thread = None
            self._changed.notify_all()
            return True

    def _work_off(self) -> None:
        pause = FIRST_PAUSE
        # Only this thread removes lots; end() replaces the queue.
        while lots := self._lots:
            lot = lots[0]
            with self._asking:
                error = _attempt(lot)
            if error is not None:
                lot.reason = describe(error)
                if will_pass(error) and time.monotonic() - lot.since < MAX_SECONDS:
                    self._sleep(pause)
                    pause = min(pause * 2, LAST_PAUSE)
                    continue
            pause = FIRST_PAUSE
            if self._remove(lot) and error is not None:
                drop(lot.events, lot.using, lot.reason)

    def _sleep(self, seconds: float) -> None:
        """Sleep until the next attempt, only shortly when the process ends."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_ending, seconds)
        if self._is_ending:
            time.sleep(EXIT_PAUSE)

    def _remove(self, lot: Lot) -> bool:
        """Remove ``lot`` from the queue; False if :meth:`end` has removed it already."""
        with self._changed:
            if not self._lots or self._lots[0] is not lot:
                return False
            self._lots.popleft()
            self._events -= len(lot.events)
            self._characters -= lot.characters
            return True

    def end(self) -> None:
        """At the end of the process, wait a bounded time for the lots, and drop the rest."""
        with self._changed:
            self._is_ending = True
            self._changed.notify_all()
        self.wait(EXIT_SECONDS)
        with self._changed:
            left, self._lots = self._lots, deque()
            self._events = self._characters = 0
            self._is_over = True
        for lot in left:
            drop(lot.events, lot.using, f"the process ends: {lot.reason}")

    def before_fork(self) -> None:
        """Wait for the current attempt, at most the time that it may take."""
        self._is_held_for_fork = self._asking.acquire(timeout=2 * ATTEMPT_SECONDS)

    def after_fork_in_parent(self) -> None:
        if self._is_held_for_fork:
            self._asking.release()

    def after_fork_in_child(self) -> None:
        """Begin with an empty backlog: the parent's thread stores the lots."""
        self.__init__()  # type: ignore[misc]


def _attempt(lot: Lot) -> Exception | None:
    connection = connections[lot.using]
    try:
        # Receivers of event_recorded run at the depth at which the signals were fired.
        depth = max(event.depth for event in lot.events)
        with context.working_on(depth - 1), savepoints.limited(connection, ATTEMPT_SECONDS):
            # An earlier attempt whose answer was lost may have stored them.
            if not Event.objects.using(lot.using).filter(occurrence=lot.events[0].occurrence).exists():
                store(lot.events, lot.using)
    except Exception as error:
        drop_connection(connection)
        return error
    return None


backlog = Backlog()
atexit.register(backlog.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=backlog.before_fork,
        after_in_parent=backlog.after_fork_in_parent,
        after_in_child=backlog.after_fork_in_child,
    )
