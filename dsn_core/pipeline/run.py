"""The loop that every runner calls."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from django.db.models import Q

from dsn_core.models import MessengerState
from dsn_core.models.clock import DatabaseNow
from dsn_core.pipeline import fanout, sending
from dsn_core.plugins.loading import describe

logger = logging.getLogger("dsn_core.run")


@dataclass
class Progress:
    """How many events were expanded and deliveries settled."""

    events: int = 0
    deliveries: int = 0

    def __bool__(self) -> bool:
        return bool(self.events or self.deliveries)

    def add(self, other: Progress) -> None:
        self.events += other.events
        self.deliveries += other.deliveries


def run_once(using: str, messengers: Collection[str] | None = None) -> Progress:
    """One claim of events, and one batch of every messenger that has due deliveries.

    ``messengers`` limits the sending to these. One messenger's trouble is its own.
    """
    progress = Progress(events=fanout.expand_due(using))
    for alias in _awake(using):
        if messengers is None or alias in messengers:
            try:
                progress.deliveries += sending.send_due(alias, using)
            except Exception as error:
                # The batch stays claimed, and is due again when its lease ends.
                logger.exception("A batch of the messenger %s was given up: %s", alias, describe(error))
    return progress


def drain(
    using: str,
    *,
    messengers: Collection[str] | None = None,
    seconds: float | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Progress:
    """Work until nothing is due, ``seconds`` have passed, or ``stop()`` says so."""
    total = Progress()
    end = None if seconds is None else time.monotonic() + seconds
    while not stop() and (end is None or time.monotonic() < end):
        progress = run_once(using, messengers)
        total.add(progress)
        if not progress:
            break
    return total


def _awake(using: str) -> list[str]:
    """The messengers that deliveries exist for and that do not rest."""
    rested = Q(paused_until__isnull=True) | Q(paused_until__lte=DatabaseNow())
    return list(MessengerState.objects.using(using).filter(rested).values_list("messenger", flat=True))
