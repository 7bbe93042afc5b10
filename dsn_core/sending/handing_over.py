"""The usual way of a messenger: its batches take turns, it is given messages, and its receipts become verdicts."""

from __future__ import annotations

import dataclasses
import logging
import math
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from dsn_core.contracts.messages import Message
from dsn_core.contracts.messengers import BaseMessenger
from dsn_core.contracts.receipts import Outcome, Receipt
from dsn_core.masking import exc_info, masked
from dsn_core.models import Delivery
from dsn_core.models.delivery import Status
from dsn_core.plugins.calls import reraise_interrupt, tidied
from dsn_core.plugins.errors import told
from dsn_core.queue.claiming import Claim, claim
from dsn_core.queue.pages import claim_page
from dsn_core.queue.schedule import Due
from dsn_core.sending import pacing
from dsn_core.sending.batch import Batch
from dsn_core.sending.preparing import find_addresses, keep_to_listed, render
from dsn_core.sending.settling import verdict_of

logger = logging.getLogger("dsn_core.sending")


#: Seconds of sending after which it is looked whether another worker was told to pause. A quick messenger's batch takes
#: less than asking does.
LOOK_SECONDS = 0.05
#: Columns that nothing reads on the way to the receiver. A listener that does gets them, by a query.
UNREAD = ("created_at", "finished_at", "report", "report_reason", "reported_at")
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


class UsualWay:
    """Addresses are found, messages rendered and handed over, and receipts settled: batch by batch."""

    #: Whether it is given messages that were rendered before, to addresses.
    takes_messages: ClassVar[bool] = True

    @staticmethod
    def claim(messenger: BaseMessenger, using: str, limit: int, due: Sequence[Due]) -> Claim[Delivery] | None:
        """Claim at most ``limit`` of the first of what is ``due`` that no other worker claims first."""
        rows = Delivery.objects.using(using).filter(messenger=messenger.alias).defer(*UNREAD)
        for priority, is_page in due:
            if is_page and (page := claim_page(messenger.alias, priority, limit, using, unread=UNREAD)) is not None:
                return page
            # Those of a page that was broken up, too.
            if (found := claim(rows.filter(priority=priority), limit=limit, status=Status.SENDING)) is not None:
                return found
        return None

    @staticmethod
    def send(messenger: BaseMessenger, batch: Batch, in_hand: ProviderConnections) -> None:
        """Send ``batch``, whose rows have their events, backends and users, and passed the filters."""
        find_addresses(batch, messenger)
        keep_to_listed(batch, messenger)
        looked_at = time.monotonic()
        while batch.next_portion(messenger.batch_size):
            messages = render(batch)
            if in_hand.take(batch):
                try:
                    deliver(batch, messenger, messages)
                finally:
                    in_hand.free(batch)
            if batch.is_broken_off:
                return
            batch.settle()
            if time.monotonic() - looked_at < LOOK_SECONDS:
                continue
            looked_at = time.monotonic()
            if pacing.is_paused(messenger.alias, batch.using):
                # Another worker was told so: what is left would only hear the same.
                batch.is_broken_off = True
                return


@dataclass(frozen=True)
class Raised:
    """What a messenger raised, without secrets: in a line, which is empty where it raised nothing, and itself."""

    said: str = ""
    error: BaseException | None = None


def deliver(batch: Batch, messenger: BaseMessenger, messages: Sequence[Message]) -> None:
    """Hand ``messages`` to the messenger, and note the verdicts that its receipts mean."""
    if not messages or not batch.hand_over(message.id for message in messages):
        return
    batch.paced += len(messages)
    receipts = batch.receipts
    try:
        with tidied(f"messenger {messenger.alias!r}"):
            error = collect(messenger, messages, batch.go_on, receipts).said
    except BaseException as ending:
        reraise_interrupt(ending)
        mask = messenger.options.mask
        error = told(ending, type(messenger), mask)
        logger.error(
            "The messenger %s raised %s, which ends its batch and nothing else.",
            messenger.alias,
            error,
            exc_info=exc_info(ending, mask),
        )
        # It says nothing of the messages that the messenger had: SystemExit may come after the last was sent.
        for message in messages:
            receipts.setdefault(message.id, Receipt.unknown(error))
        batch.is_broken_off = True
    causes = {key: receipt for key, receipt in receipts.items() if receipt.outcome is Outcome.PAUSE}
    for message in messages:
        receipt = receipts.get(message.id)
        if receipt is None and (batch.is_broken_off or (causes and not error)):
            # Given back, without a trace: another message's pause says nothing about it.
            continue
        if receipt is None:
            receipt = Receipt.retry(reason=error or "The messenger gave no answer about this message.")
        batch.verdicts[batch.in_hand[message.id].id] = verdict_of(receipt, retry_unknown=messenger.retry_unknown)
    if batch.is_doubted:
        pacing.note_sent(batch, messenger.alias)
    if causes:
        pacing.begin_pause(batch, messenger.alias, causes)


def collect(
    messenger: BaseMessenger,
    messages: Sequence[Message],
    go_on: Callable[[], bool],
    receipts: dict[str, Receipt],
) -> Raised:
    """Put the receipts by message id into ``receipts``, one by one; return what the messenger raised, if it did.

    A receipt that names its message is that one's; others are taken in the order of the messages
    that have none yet. ``go_on()`` is asked after each; when it says no, a messenger that yields its
    receipts is not asked for more, but for those of what it has under way. Raises what is no ``Exception``, and
    interrupts.
    """
    # The messenger gets a list of its own: what it takes out of that is still to be answered for.
    waiting = iter(messages)
    given = {message.id for message in messages}
    surplus: list[Receipt] = []
    try:
        answers: Iterable[Receipt] | None = messenger.send_messages(list(messages))
        for receipt in answers or ():
            if not isinstance(receipt, Receipt):
                raise TypeError(
                    f"send_messages() answered with {type(receipt).__name__}; it answers with Receipt objects."
                )
            about = receipt.message
            if about is None:
                about = next((message for message in waiting if message.id not in receipts), None)
            if about is None or about.id in receipts or about.id not in given:
                # The first answer about a message counts: what was sent is not to be sent again.
                surplus.append(receipt)
            else:
                answer = receipt
                if receipt.reason:
                    answer = dataclasses.replace(receipt, reason=messenger.options.mask(receipt.reason))
                receipts[about.id] = answer
            if len(receipts) < len(messages) and not go_on():
                if messenger.concurrent:
                    messenger.stop()
                elif isinstance(answers, Generator):
                    # Closed, so that it can close its connection.
                    answers.close()
                    break
    except Exception as error:
        reraise_interrupt(error)
        mask = messenger.options.mask
        raised = Raised(told(error, type(messenger), mask), masked(error, mask))
        logger.warning("The messenger %s raised %s", messenger.alias, raised.said, exc_info=exc_info(error, mask))
        return raised
    finally:
        if surplus:
            logger.warning(
                "The messenger %s gave %d receipts too many for %d messages: about some that it had answered for, or "
                "was not given. They are left out; the first says %s. Mend it; MessengerContract tests this.",
                messenger.alias,
                len(surplus),
                len(messages),
                surplus[0].outcome.value,
            )
    return Raised()
