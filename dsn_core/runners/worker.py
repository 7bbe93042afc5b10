"""The runner for production: processes of their own, which need nothing but the database."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection

from django.db import close_old_connections

from dsn_core.contracts.runners import BaseRunner
from dsn_core.pipeline import run
from dsn_core.plugins.loading import describe
from dsn_core.triggers.dispatcher import dispatcher

logger = logging.getLogger("dsn_core.worker")

#: Seconds between two looks at the tables while there is nothing to do.
POLL_SECONDS = 1.0
#: The same while the database is away, where each look in vain doubles the wait.
LONGEST_WAIT = 30.0


class WorkerRunner(BaseRunner):
    """Leaves the sending to 'manage.py dsn_worker'."""

    name = "worker"

    def wake(self, using: str) -> None:
        """Nothing: the worker looks at the tables by itself."""


class Worker:
    """What ``dsn_worker`` runs: drains, waits, and goes on until it is asked to stop."""

    def __init__(self, using: str, messengers: Collection[str] | None = None) -> None:
        self.using = using
        self.messengers = messengers
        self._stopping = False

    def stop(self) -> None:
        """Finish the message at hand, give the rest back, then end. Safe in a signal handler: it takes no lock."""
        self._stopping = True

    def is_stopping(self) -> bool:
        return self._stopping

    def drain(self) -> run.Progress:
        """Work until nothing is due, or until asked to stop."""
        dispatcher.look()
        return run.drain(self.using, messengers=self.messengers, stop=self.is_stopping)

    def watch(self) -> run.Progress:
        """Work whenever something is due. A database that is away is waited for."""
        total = run.Progress()
        trouble = 0
        while not self._stopping:
            try:
                close_old_connections()
                started = time.monotonic()
                progress = self.drain()
                total.add(progress)
                trouble = 0
                if progress:
                    logger.info(
                        "%d events, %d deliveries in %.1f s",
                        progress.events,
                        progress.deliveries,
                        time.monotonic() - started,
                    )
            except Exception as error:
                trouble += 1
                logger.error(
                    "The worker could not go on, and tries again: %s. If a table or column is missing, run migrate.",
                    describe(error),
                )
            self._wait(min(POLL_SECONDS * 2**trouble, LONGEST_WAIT))
        return total

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._stopping and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))
