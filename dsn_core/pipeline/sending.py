"""Sending: one batch of one messenger, from claim to settled."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from django.db.models import Q

from dsn_core.contracts.messages import Message
from dsn_core.contracts.messengers import BaseMessenger
from dsn_core.contracts.receipts import Outcome, Receipt
from dsn_core.exceptions import ConfigurationError
from dsn_core.models import Delivery, MessengerState
from dsn_core.models.delivery import Status
from dsn_core.models.subscription import Priority
from dsn_core.pipeline import context, itself
from dsn_core.pipeline.batch import Batch, addressed
from dsn_core.pipeline.claiming import Claim, claim
from dsn_core.pipeline.settling import Verdict, settle, verdict_of
from dsn_core.plugins.loading import describe
from dsn_core.plugins.registry import registry
from dsn_core.signals import messenger_paused

logger = logging.getLogger("dsn_core.sending")

DEFAULT_BATCH = 100


def send_due(alias: str, using: str) -> int:
    """Claim one batch of the messenger ``alias``, send it and settle it; return its size."""
    claimed = _claim(alias, using)
    if claimed is None:
        return 0
    settle(claimed, send(claimed, alias, using), using)
    return len(claimed.rows)


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


def send(claimed: Claim[Delivery], alias: str, using: str) -> dict[int, Verdict]:
    """Send what was claimed, and return the verdict on every row."""
    batch = Batch(claimed, using)
    try:
        messenger = registry.messenger(alias)
    except ConfigurationError as error:
        batch.end_open(Verdict(Status.FAILED, f"{error} Then retry the delivery."))
        return batch.verdicts
    batch.drop_exhausted()
    batch.load_events()
    batch.load_backends()
    batch.load_users()
    batch.apply_filters()
    if messenger.sends_itself():
        itself.call(batch, messenger)
    else:
        batch.find_addresses(messenger)
        messages = batch.render()
        batch.verdicts.update(deliver(messenger, messages, claimed, using))
    return batch.verdicts


def deliver(
    messenger: BaseMessenger, messages: Sequence[Message], claimed: Claim[Delivery], using: str
) -> dict[int, Verdict]:
    """Hand ``messages`` to the messenger, and return the verdicts that its receipts mean."""
    if not messages:
        return {}
    rows = {row.message_id: row for row in claimed.rows}
    receipts, error = collect(messenger, messages, max(rows[message.id].event.depth for message in messages))
    pause = next((receipt for receipt in receipts.values() if receipt.outcome is Outcome.PAUSE), None)
    if pause is not None:
        pause_messenger(messenger.alias, pause, claimed, using)
    verdicts = {}
    for message in messages:
        receipt = receipts.get(message.id)
        if receipt is None:
            receipt = pause or Receipt.retry(reason=error or "The messenger gave no answer about this message.")
        verdicts[rows[message.id].pk] = verdict_of(receipt, retry_unknown=messenger.retry_unknown)
    return verdicts


def collect(messenger: BaseMessenger, messages: Sequence[Message], depth: int) -> tuple[dict[str, Receipt], str]:
    """The receipts by message id, and what the messenger raised, if it did.

    A receipt that names its message is that one's; others are taken in the order of the messages
    that have none yet.
    """
    receipts: dict[str, Receipt] = {}
    waiting = iter(messages)
    try:
        with context.working_on(depth):
            answers: Iterable[Receipt] | None = messenger.send_messages(messages)
            for receipt in answers or ():
                if not isinstance(receipt, Receipt):
                    raise TypeError(f"send_messages() answered with {receipt!r}; it answers with Receipt objects.")
                about = receipt.message
                if about is None:
                    about = next((message for message in waiting if message.id not in receipts), None)
                if about is not None:
                    receipts[about.id] = receipt
    except Exception as error:
        text = messenger.options.mask(describe(error))
        logger.warning("The messenger %s raised %s", messenger.alias, text)
        return receipts, text
    return receipts, ""


def pause_messenger(alias: str, receipt: Receipt, claimed: Claim[Delivery], using: str) -> None:
    """Let the messenger rest in all workers, as its receipt asks."""
    seconds = receipt.after or 0.0
    until = claimed.clock.now(seconds)
    states = MessengerState.objects.using(using)
    states.get_or_create(messenger=alias)
    shorter = Q(paused_until__isnull=True) | Q(paused_until__lt=until)
    states.filter(shorter, messenger=alias).update(paused_until=until, pause_reason=receipt.reason)
    logger.warning("The messenger %s pauses for %g s: %s", alias, seconds, receipt.reason)
    messenger_paused.send_robust(sender=MessengerState, messenger=alias, seconds=seconds, reason=receipt.reason)
