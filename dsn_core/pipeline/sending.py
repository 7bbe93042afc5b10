"""Sending: one batch of one messenger, from claim to settled."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence

from django.db.models import Q

from dsn_core import conf
from dsn_core.contracts.messages import Message
from dsn_core.contracts.messengers import BaseMessenger
from dsn_core.contracts.receipts import Outcome, Receipt
from dsn_core.exceptions import ConfigurationError, ContractError
from dsn_core.models import Delivery, MessengerState
from dsn_core.models.clock import DatabaseNow
from dsn_core.models.delivery import ERROR_LENGTH, Status
from dsn_core.models.subscription import Priority
from dsn_core.pipeline import context, itself
from dsn_core.pipeline.batch import SEND_AGAIN, Batch
from dsn_core.pipeline.claiming import Claim, claim
from dsn_core.pipeline.settling import Verdict, settle, verdict_of
from dsn_core.pipeline.sql import storable
from dsn_core.plugins.loading import describe
from dsn_core.plugins.registry import registry
from dsn_core.signals import messenger_paused

logger = logging.getLogger("dsn_core.sending")

DEFAULT_BATCH = 100


def send_due(alias: str, using: str, stop: Callable[[], bool] = lambda: False) -> int:
    """Claim one batch of the messenger ``alias``, send it and settle it; return how many were worked on.

    ``stop()`` is asked between any two messages: what is left then is given back.
    """
    if is_resting(alias, using):
        return 0
    claimed = _claim(alias, using)
    if claimed is None:
        return 0
    batch = Batch(claimed, using, stop)
    try:
        send(batch, alias)
    except Exception as error:
        logger.exception("A batch of the messenger %s broke off", alias)
        batch.end_open(Verdict(Status.RETRY, f"Its batch broke off: {describe(error)}"))
    with context.working_on(batch.depth):
        settle(claimed, batch.verdicts, using)
    _report(alias, claimed.rows)
    return len(claimed.rows) - batch.given_back


def _report(alias: str, rows: Sequence[Delivery]) -> None:
    """One line of the log for a batch of which something was not sent."""
    troubled = [row for row in rows if row.status in (Status.RETRY, Status.FAILED, Status.UNKNOWN) and row.last_error]
    if troubled:
        counts = Counter(str(row.status) for row in rows)
        said = ", ".join(f"{number} {status}" for status, number in counts.items())
        logger.warning("%s: %s. The first that was not sent: %s", alias, said, troubled[0].last_error)


def is_resting(alias: str, using: str) -> bool:
    """Whether the messenger asked for a pause that is not over. Asked right before each claim: any worker may have."""
    return MessengerState.objects.using(using).filter(messenger=alias, paused_until__gt=DatabaseNow()).exists()


def _claim(alias: str, using: str) -> Claim[Delivery] | None:
    try:
        cls: type[BaseMessenger] | None = registry.messenger_class(alias)
    except ConfigurationError:
        cls = None
    for priority in Priority.values:
        rows = Delivery.objects.using(using).filter(messenger=alias, priority=priority)
        if cls is not None and cls.sends_itself():
            found = itself.claim_call(rows, cls)
        else:
            found = claim(rows, limit=cls.batch_size if cls else DEFAULT_BATCH, status=Status.SENDING)
        if found is not None:
            return found
    return None


def send(batch: Batch, alias: str) -> None:
    """Send what was claimed, and put the verdict on every row into ``batch.verdicts``."""
    batch.drop_exhausted()
    try:
        messenger = registry.messenger(alias)
    except ConfigurationError as error:
        batch.end_open(Verdict(Status.FAILED, f"{str(error).rstrip('.')}. {SEND_AGAIN}"))
        return
    except ContractError as error:
        batch.end_open(Verdict(Status.RETRY, str(error)))
        return
    batch.load_events()
    # What plugins do from here on, they do because of these events.
    with context.working_on(batch.depth):
        batch.load_backends()
        chosen = conf.current()
        batch.load_users(chosen.LANGUAGE_PATH, chosen.TIME_ZONE_PATH, messenger.path_to_address)
        batch.apply_filters()
        if messenger.sends_itself():
            itself.call(batch, messenger)
        else:
            batch.find_addresses(messenger)
            deliver(batch, messenger, batch.render())
    if batch.is_broken_off:
        batch.give_back()


def deliver(batch: Batch, messenger: BaseMessenger, messages: Sequence[Message]) -> None:
    """Hand ``messages`` to the messenger, and note the verdicts that its receipts mean."""
    if not messages:
        return
    receipts, error = collect(messenger, messages, batch.go_on)
    pauses = [receipt for receipt in receipts.values() if receipt.outcome is Outcome.PAUSE]
    pause = max(pauses, key=lambda receipt: receipt.after or 0, default=None)
    rows = {row.message_id: row for row in batch.open}
    for message in messages:
        receipt = receipts.get(message.id)
        if receipt is None and pause is None and batch.is_broken_off:
            continue
        if receipt is None:
            receipt = pause or Receipt.retry(reason=error or "The messenger gave no answer about this message.")
        batch.verdicts[rows[message.id].pk] = verdict_of(receipt, retry_unknown=messenger.retry_unknown)
    if pause is not None:
        pause_messenger(messenger.alias, pause, batch)


def collect(
    messenger: BaseMessenger, messages: Sequence[Message], go_on: Callable[[], bool]
) -> tuple[dict[str, Receipt], str]:
    """The receipts by message id, and what the messenger raised, if it did.

    A receipt that names its message is that one's; others are taken in the order of the messages
    that have none yet. ``go_on()`` is asked after each; a messenger that yields its receipts is not
    asked for more when it says no.
    """
    receipts: dict[str, Receipt] = {}
    waiting = iter(messages)
    try:
        answers: Iterable[Receipt] | None = messenger.send_messages(messages)
        for receipt in answers or ():
            if not isinstance(receipt, Receipt):
                raise TypeError(f"send_messages() answered with {receipt!r}; it answers with Receipt objects.")
            about = receipt.message
            if about is None:
                about = next((message for message in waiting if message.id not in receipts), None)
            if about is not None:
                # The first answer about a message counts: what was sent is not to be sent again.
                masked = dataclasses.replace(receipt, reason=messenger.options.mask(receipt.reason))
                receipts.setdefault(about.id, masked)
            if len(receipts) < len(messages) and not go_on() and isinstance(answers, Generator):
                # Closed, so that it can close its connection.
                answers.close()
                break
    except Exception as error:
        text = messenger.options.mask(describe(error))
        logger.warning("The messenger %s raised %s", messenger.alias, text)
        return receipts, text
    return receipts, ""


def pause_messenger(alias: str, receipt: Receipt, batch: Batch) -> None:
    """Let the messenger rest in all workers, as its receipt asks."""
    seconds = receipt.after or 0.0
    until = batch.clock.now(seconds)
    states = MessengerState.objects.using(batch.using)
    states.get_or_create(messenger=alias)
    shorter = Q(paused_until__isnull=True) | Q(paused_until__lt=until)
    reason = storable(receipt.reason, ERROR_LENGTH)
    states.filter(shorter, messenger=alias).update(paused_until=until, pause_reason=reason)
    logger.warning("The messenger %s pauses for %g s: %s", alias, seconds, reason)
    messenger_paused.send_robust(sender=MessengerState, messenger=alias, seconds=seconds, reason=reason)
