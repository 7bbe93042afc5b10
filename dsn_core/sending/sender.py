"""Sending: one claim of one messenger, batch by batch, until all of it is settled."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

from django.db import Error

from dsn_core import context
from dsn_core._django import is_interrupt
from dsn_core.contracts.messengers import BaseMessenger
from dsn_core.exceptions import ConfigurationError, DSNError
from dsn_core.masking import Mask, exc_info, unmasked
from dsn_core.models import Delivery
from dsn_core.models.delivery import Status
from dsn_core.plugins.calls import reraise_interrupt, tidied
from dsn_core.plugins.errors import describe, told
from dsn_core.plugins.registry import registry
from dsn_core.queue import schedule
from dsn_core.queue.claiming import Claim, Work
from dsn_core.queue.pages import PageClaim
from dsn_core.queue.schedule import Due
from dsn_core.sending import pacing
from dsn_core.sending.batch import Batch
from dsn_core.sending.handing_over import ProviderConnections, UsualWay
from dsn_core.sending.legacy_send import LegacyWay
from dsn_core.sending.preparing import apply_filters
from dsn_core.sending.settling import Verdict

logger = logging.getLogger("dsn_core.sending")

#: Why the messengers cannot be made that this process tried in vain.
_unmade: dict[str, str] = {}
#: Work that takes less is quick: another thread of the process may join in.
QUICK_SECONDS = 0.5
#: Seconds that a claim should take. One that was full and took less is followed by a larger one, else by a smaller.
CLAIM_SECONDS = 0.25
#: Batches of one claim at most: what the next worker has to wait for.
MOST_BATCHES = 10


Way: TypeAlias = UsualWay | LegacyWay


def way_of(messenger: type[BaseMessenger]) -> type[Way]:
    """The one place where it is decided which way a messenger is used: is it given messages, or is ``send`` called?"""
    return LegacyWay if messenger.sends_itself else UsualWay


class Sender:
    """Sends what is due by one messenger. One for each loop that does: it learns how much to claim at a time.

    ``claimed`` is called between claiming and sending, with the seconds after which another look for work is worth its
    query: 0.0 when more may be due, None when nothing more was. ``connections`` are those that threads of one process
    share.
    """

    #: Part of a lease without a sign of life after which a worker gives its thread up. The rows are still its own then,
    #: so that they can be settled.
    patience = 0.5

    def __init__(
        self,
        alias: str,
        using: str,
        stop: Callable[[], bool] = lambda: False,
        *,
        is_stubborn: bool = False,
        claimed: Callable[[float | None], None] = lambda next_look: None,
        connections: ProviderConnections | None = None,
    ) -> None:
        self.alias = alias
        self.using = using
        self._stop = stop
        #: Whether a batch that cannot be settled is held on to until ``stop()``, and not only while its lease lasts.
        self._is_stubborn = is_stubborn
        self._claimed = claimed
        self._connections = connections or ProviderConnections()
        self._batches = 1
        #: What it is at work on. A thread that watches over this one looks at it.
        self.batch: Batch | None = None

    def work(self) -> Work:
        """One claim, from claimed to settled. Raises nothing but errors of the database, and interrupts."""
        begun_at = time.monotonic()
        look = schedule.look(self.alias, self.using)
        if not look.due:
            return Work()
        if (messenger := made(self.alias)) is None:
            # Another worker may have it.
            return Work()
        way = way_of(type(messenger))
        limit = self._batches * messenger.batch_size
        claimed, rest = self._claim(way, messenger, limit, look.due)
        if claimed is None:
            return Work(rest=rest)
        started = time.monotonic()
        batch = self.batch = Batch(claimed, self.using, self._stop, is_stubborn=self._is_stubborn)
        batch.is_doubted, batch.begun_at = look.is_doubted, begun_at
        # A page may end before the limit, and another one follow. A call of ``send`` says nothing of other events.
        is_full = len(claimed.rows) == limit or isinstance(claimed, PageClaim)
        self._claimed(0.0 if rest is None and (is_full or not way.takes_messages) else rest)
        try:
            self._send(batch, way, messenger)
        finally:
            self.batch = None
        failures = (Status.RETRY, Status.FAILED, Status.UNKNOWN)
        if troubled := [row for row in claimed.rows if row.last_error and row.status in failures]:
            counts = Counter(str(row.status) for row in claimed.rows)
            said = ", ".join(f"{number} {status}" for status, number in counts.items())
            logger.warning("%s: %s. The first that was not sent: %s", self.alias, said, troubled[0].last_error)
        if rest is not None:
            # What was taken of the rate for messages that never left is for others.
            rate = messenger.options.rate
            if spared := len(batch.rows) - batch.paced:
                pacing.put_back(self.alias, rate, spared, self.using)
            rest = batch.paced * rate.interval
        self._batches = _batches_after(self._batches, time.monotonic() - started) if is_full else 1
        return Work(len(claimed.rows) - batch.given_back, rest)

    # For the thread that watches over this one

    def silent_since(self) -> float | None:
        """See :class:`~dsn_core.fanout.expander.Expander`."""
        return None if (batch := self.batch) is None else batch.alive_at

    def is_stuck(self) -> bool:
        return (batch := self.batch) is not None and batch.is_stuck

    def give_up(self, seconds: float) -> None:
        """Settle what is at hand in the place of a thread that was silent for ``seconds``."""
        if (batch := self.batch) is not None:
            try:
                batch.abandon(
                    f"The messenger gave no sign of life for {seconds:.0f} s and was given up: its provider may have "
                    "taken the message. Let it keep its TIMEOUT, and yield its receipts one by one."
                )
            finally:
                self._connections.free(batch)

    # The work

    def _claim(
        self, way: type[Way], messenger: BaseMessenger, limit: int, due: Sequence[Due]
    ) -> tuple[Claim[Delivery] | None, float | None]:
        """The first of what is ``due`` that no other worker claims first, and seconds until the rate lets more go."""
        rate = messenger.options.rate
        if rate is None:
            return way.claim(messenger, self.using, limit, due), None
        return pacing.claim_in_turn(
            self.alias, rate, self.using, lambda most: way.claim(messenger, self.using, min(limit, most), due)
        )

    def _send(self, batch: Batch, way: type[Way], messenger: BaseMessenger) -> None:
        """Send and settle. Whatever is raised in between, no row stays claimed."""
        try:
            try:
                batch.retire(batch.open)
                batch.retry_unknown = messenger.retry_unknown
                batch.load_events()
                # What plugins do from here on, they do because of these events.
                with context.working_on(batch.depth):
                    batch.load_backends()
                    batch.load_users(messenger)
                    apply_filters(batch)
                    way.send(messenger, batch, self._connections)
            except BaseException as error:
                reraise_interrupt(error)
                mask = messenger.options.mask
                given = exc_info(error, mask)
                logger.error("A batch of the messenger %s broke off", self.alias, exc_info=given)
                said = told(error, type(messenger), mask)
                batch.end_open(Verdict(Status.RETRY, f"Its batch broke off: {said}"))
            if batch.is_broken_off:
                batch.give_back()
            batch.settle()
        except BaseException as error:
            if is_interrupt(error):
                self._settle_at_once(batch, error)
            raise

    def _settle_at_once(self, batch: Batch, interrupt: BaseException) -> None:
        """The process, the request or the green thread is to end: there is time for one statement."""
        batch.break_off(f"It was interrupted: {describe(interrupt)}")
        try:
            batch.settle(is_patient=False)
        except Error as error:
            logger.error("A batch of %s is left to the end of its lease: %s", self.alias, describe(error))


def _batches_after(batches: int, seconds: float) -> int:
    """How many batches to claim after so many took so many seconds: twice as many at most."""
    growth = min(CLAIM_SECONDS / max(seconds, 1e-6), 2.0)
    return min(max(int(batches * growth), 1), MOST_BATCHES)


def made(alias: str) -> BaseMessenger | None:
    """The messenger with its options; None where it cannot be made, which is logged once for each reason."""
    try:
        with tidied(f"messenger {alias!r}"):
            messenger = registry.messenger(alias)
    except BaseException as error:
        reraise_interrupt(error)
        # What others say may quote an option, which only the messenger's options could mask.
        why = str(error) if isinstance(error, DSNError) else f"It raised {type(error).__name__}."
        if _unmade.get(alias) != why:
            _unmade[alias] = why
            said = "Nothing is sent by %s here, since it cannot be made. Its deliveries wait. %s"
            mask: Mask = unmasked
            # Where the options cannot be read, nothing has read a secret from them.
            with contextlib.suppress(ConfigurationError):
                mask = registry.messenger_options(alias).mask
            logger.error(said, alias, why, exc_info=exc_info(error, mask))
        return None
    _unmade.pop(alias, None)
    return messenger


def unmade() -> Collection[str]:
    """The messengers with work that this process could not make when it last tried."""
    return list(_unmade)


def threads_of(alias: str) -> tuple[int, int]:
    """How many threads of a worker send by the messenger, and how many batches it has in hand at the same time.

    One batch in hand has two threads: one waits for the database while the other renders. Not where there is nothing
    to gain: where a rate delays it, or a messenger that overrides ``send`` renders while it sends.
    """
    try:
        cls, options = registry.messenger_class(alias), registry.messenger_options(alias)
        overlaps = options.rate is None and way_of(cls).takes_messages
    except ConfigurationError:
        return 1, 1
    # A concurrent messenger keeps its connections busy with one batch.
    batches = 1 if cls.concurrent else int(options.CONNECTIONS)
    return max(batches, 2 if overlaps else 1), batches
