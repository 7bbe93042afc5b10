"""Several worker processes under one: started again when they die, ended together."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable

from django.db import connections

logger = logging.getLogger("dsn_core.worker")

#: Seconds before a process that died is started again: one that dies at once must not keep the machine busy.
PAUSE_SECONDS = 1.0


class ProcessSupervisor:
    """``count`` forks of this process, each of which runs ``work`` and exits with what it returns."""

    def __init__(self, count: int, work: Callable[[], int]) -> None:
        self._count = count
        self._work = work
        self._children: set[int] = set()
        self._stopping = False

    def is_stopping(self) -> bool:
        """Whether it was asked to stop. In a child: before it began to hear for itself."""
        return self._stopping

    def stop(self) -> None:
        """Ask all processes to end in good order. Safe in a signal handler."""
        self._stopping = True
        for pid in tuple(self._children):
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                continue

    def run(self) -> int:
        """Keep them running until asked to stop; return the exit status: 0 when all ended in good order."""
        # A connection does not survive a fork, nor does a pool of them.
        for connection in connections.all(initialized_only=True):
            connection.close()
            if hasattr(connection, "close_pool"):
                connection.close_pool()
        for _ in range(self._count):
            self._start()
        status = 0
        while self._children:
            pid, found = os.waitpid(-1, 0)
            if pid not in self._children:
                continue
            self._children.discard(pid)
            code = os.waitstatus_to_exitcode(found)
            if self._stopping:
                status = status or code
                continue
            # Whatever it ended with: it was not asked to end.
            logger.error("A worker process (%d) ended with %d; another one takes its place.", pid, code)
            time.sleep(PAUSE_SECONDS)
            if not self._stopping:
                self._start()
        return status

    def _start(self) -> None:
        pid = os.fork()
        if pid:
            self._children.add(pid)
            if self._stopping:
                self.stop()
            return
        self._children.clear()
        # Whatever happens, the child ends here, and runs nothing of its parent's.
        status = 1
        try:
            status = self._work()
        except BaseException:
            logger.exception("A worker process failed")
        finally:
            os._exit(status)
