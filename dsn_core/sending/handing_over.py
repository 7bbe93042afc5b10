"""Handing over: rendered messages go to their messenger, and its receipts become verdicts."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass

from dsn_core.contracts.messages import Message
from dsn_core.contracts.messengers import BaseMessenger
from dsn_core.contracts.receipts import Outcome, Receipt
from dsn_core.masking import exc_info, masked
from dsn_core.plugins.calls import reraise_interrupt, tidied
from dsn_core.plugins.errors import told
from dsn_core.sending import pausing
from dsn_core.sending.batch import Batch
from dsn_core.sending.settling import verdict_of

logger = logging.getLogger("dsn_core.sending")


@dataclass(frozen=True)
class Raised:
    """What a messenger raised, without secrets: in a line, which is empty where it raised nothing, and itself."""

    said: str = ""
    error: BaseException | None = None


def deliver(batch: Batch, messenger: BaseMessenger, messages: Sequence[Message]) -> None:
    """Hand ``messages`` to the messenger, and note the verdicts that its receipts mean."""
    if not messages:
        return
    if not batch.hand_over(message.id for message in messages):
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
    pausing.note_sent(batch, messenger.alias)
    if causes:
        pausing.begin(batch, messenger.alias, causes)


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
                receipts[about.id] = _masked(receipt, messenger)
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


def _masked(receipt: Receipt, messenger: BaseMessenger) -> Receipt:
    if not receipt.reason:
        return receipt
    return dataclasses.replace(receipt, reason=messenger.options.mask(receipt.reason))
