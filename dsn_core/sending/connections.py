"""How many batches a messenger has in hand at a time, while other threads of its worker prepare and settle more."""

from __future__ import annotations

import math
import threading
import time

from dsn_core.sending.batch import Batch

#: Seconds between two signs of life of a batch that waits.
STEP_SECONDS = 0.1


class ProviderConnections:
    """The connections to a provider that the threads of a process share: a batch has one while it is handed over.

    They are numbers, not sockets: it is the messenger that connects.
    """

    def __init__(self, number: int = 1) -> None:
        self.number = number
        self._freed = threading.Condition()
        self._held_by: set[Batch] = set()
        #: When a batch broke off, by ``time.monotonic()``.
        self._broken_off_at = -math.inf

    def take(self, batch: Batch) -> bool:
        """Wait until ``batch`` has one, and return True; False when it is to end instead.

        One that waited while another broke off is given back: that may have been for a pause, which its own claim
        did not know of.
        """
        while True:
            with self._freed:
                if self._freed.wait_for(lambda: len(self._held_by) < self.number, STEP_SECONDS):
                    if batch.begun_at < self._broken_off_at:
                        break
                    self._held_by.add(batch)
                    return True
            if not batch.go_on():
                break
        batch.is_broken_off = True
        return False

    def free(self, batch: Batch) -> None:
        """Let the next have what ``batch`` holds, if it does: also in the place of a thread that hangs."""
        with self._freed:
            if batch not in self._held_by:
                return
            self._held_by.discard(batch)
            if batch.is_broken_off:
                self._broken_off_at = time.monotonic()
            self._freed.notify_all()
