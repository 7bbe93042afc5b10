"""Publishes tasks within a bounded time, by connections of our own.

Celery's own connections wait for a broker that does not answer: for 4 seconds with RabbitMQ, for
ever with Redis, and by default they try again. That is right for tasks that would be lost. Ours
would not: the caller, which may be a request, goes on, and the sweep finds the work.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from typing import Any, Final

from celery import Celery, current_app

from dsn_core.kit import describe

logger = logging.getLogger("dsn_celery")

#: Seconds for connecting to a host of the broker, and for each answer.
TIMEOUT: Final = 1.0
#: Seconds for which a process leaves a broker alone that did not answer.
REST: Final = 10.0

# Each transport takes those that it knows.
_TRANSPORT_OPTIONS: Final[dict[str, Any]] = {
    # RabbitMQ. Unconfirmed, a message to a server that was just restarted would be lost without an error.
    "confirm_publish": True,
    "read_timeout": TIMEOUT,
    "write_timeout": TIMEOUT,
    # Redis.
    "socket_connect_timeout": TIMEOUT,
    "socket_timeout": TIMEOUT,
    "retry_on_timeout": False,
}


class Publisher:
    """Puts tasks into their queues. One per process: :data:`publisher`. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: Any = None
        #: The process and the app that the connections belong to: those of a parent process are not ours.
        self._owner: tuple[int, Celery] | None = None
        self._resting_until = float("-inf")

    def publish(self, task: Any, *args: Any, route_name: str | None = None) -> bool:
        """Publish ``task`` and return whether the broker has it. Never raises, and waits TIMEOUT at most for an answer.

        After a failure nothing is tried for REST seconds, so that not every request pays for it.
        """
        if time.monotonic() < self._resting_until:
            return False
        try:
            self._publish(task, args, route_name)
        except Exception as error:
            self._resting_until = time.monotonic() + REST
            logger.warning(
                "The task %s could not be published (%s). Nothing is lost: the sweep of Celery's beat, or "
                "dsn_worker, finds the work. This process tries the broker again in %d seconds.",
                task.name,
                describe(error),
                REST,
            )
            return False
        return True

    def _publish(self, task: Any, args: tuple[Any, ...], route_name: str | None) -> None:
        options = {"retry": False, "route_name": route_name, "add_to_parent": False, "confirm_timeout": TIMEOUT}
        with self._connections().acquire(block=True, timeout=TIMEOUT) as connection:
            was_connected = connection.connected
            try:
                task.apply_async(args, connection=connection, **options)
            except Exception:
                connection.collect()
                # The broker may just have been restarted since this connection was used.
                if not was_connected:
                    raise
                task.apply_async(args, connection=connection, **options)

    def _connections(self) -> Any:
        """The pool of connections of this process to the broker of the current app."""
        app = current_app._get_current_object()
        owner = (os.getpid(), app)
        with self._lock:
            if self._owner != owner:
                self._close()
                connection = app.connection_for_write(connect_timeout=TIMEOUT, transport_options=_TRANSPORT_OPTIONS)
                # Each host once. Otherwise connecting is tried again for ever.
                hosts = max(len(connection.alt), 1)
                connection.transport_options.update(max_retries=hosts - 1, connect_retries_timeout=hosts * TIMEOUT)
                self._pool, self._owner = connection.Pool(app.conf.broker_pool_limit), owner
            return self._pool

    def close(self) -> None:
        """Close the connections. The next task that is published makes new ones, also after a failure."""
        with self._lock:
            self._close()
            self._resting_until = float("-inf")

    def _close(self) -> None:
        # After a fork these sockets are the parent's, which goes on using them.
        if self._owner is not None and self._owner[0] == os.getpid():
            self._pool.force_close_all()
        self._pool = self._owner = None


publisher: Final = Publisher()
# Brokers write of connections that break off into their logs.
atexit.register(publisher.close)
