"""What the threads of a worker do: expand events, or send by one messenger."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from dsn_core.fanout.expander import Expander
from dsn_core.sending.connections import ProviderConnections
from dsn_core.sending.sender import Sender, Work

#: Seconds of making deliveries after which the threads that send are told of the first.
TELL_SECONDS = 0.1


class Unit(Protocol):
    """What a thread does over and over. For one thread, but for ``give_up``, which the thread that watches calls."""

    #: Part of a lease without a sign of life after which it is given up.
    patience: float

    def step(self) -> Work:
        """Do one claim's work. Raises what goes wrong with the database."""

    def silent_since(self) -> float | None:
        """When what it claimed last showed that it goes on, by ``time.monotonic()``; None while it has nothing."""

    def is_stuck(self) -> bool:
        """Whether what was done cannot be written down, for now."""

    def give_up(self, seconds: float) -> None:
        """Settle what is at hand in the place of a thread that was silent for ``seconds``."""


class Expanding:
    """Expands events. One that hangs in a resolver is taken up again when its lease ends.

    ``tell`` is called now and then while it makes deliveries for many: the first can go out before the last is made.
    """

    patience = 1.0

    def __init__(self, using: str, stop: Callable[[], bool], tell: Callable[[], None]) -> None:
        self._stop = stop
        self._tell = tell
        self._expander = Expander(using, self._go_on, self._made)
        self._alive_at: float | None = None
        self._told_at = 0.0

    def step(self) -> Work:
        self._told_at = time.monotonic()
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

    def is_stuck(self) -> bool:
        return False

    def give_up(self, seconds: float) -> None:
        """Give back the events that were not begun. The lease of the one that hangs ends, and its attempt counts."""
        self._expander.give_back_rest()


class Sending:
    """Sends by one messenger. Given up while its rows are still its own, so that they can be settled.

    ``claimed`` and ``connections``: see :class:`~dsn_core.sending.sender.Sender`.
    """

    patience = 0.5

    def __init__(
        self,
        alias: str,
        using: str,
        stop: Callable[[], bool],
        *,
        is_stubborn: bool,
        claimed: Callable[[float | None], None],
        connections: ProviderConnections,
    ) -> None:
        self._connections = connections
        self._sender = Sender(alias, using, stop, is_stubborn=is_stubborn, claimed=claimed, connections=connections)

    def step(self) -> Work:
        return self._sender.work()

    def silent_since(self) -> float | None:
        batch = self._sender.batch
        return None if batch is None else batch.alive_at

    def is_stuck(self) -> bool:
        batch = self._sender.batch
        return batch is not None and batch.is_stuck

    def give_up(self, seconds: float) -> None:
        if (batch := self._sender.batch) is not None:
            try:
                batch.abandon(
                    f"The messenger gave no sign of life for {seconds:.0f} s and was given up: its provider may have "
                    "taken the message. Let it keep its TIMEOUT, and yield its receipts one by one."
                )
            finally:
                self._connections.free(batch)
