"""Pauses: the messenger rests in all workers, and the message that caused it goes behind the others."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping

from dsn_core.contracts.receipts import Receipt
from dsn_core.models import MessengerState
from dsn_core.models.delivery import Status
from dsn_core.plugins.calls import announce
from dsn_core.sending import pacing
from dsn_core.sending.batch import Batch
from dsn_core.sending.settling import Verdict
from dsn_core.signals import messenger_paused

logger = logging.getLogger("dsn_core.sending")


def note_sent(batch: Batch, alias: str) -> None:
    """Note that something was sent since the messenger last asked for a pause. A statement for the first that is."""
    if batch.is_doubted and _has_sent(batch):
        batch.is_doubted = False
        MessengerState.objects.using(batch.using).filter(messenger=alias).update(sent_at=batch.clock.now())


def begin(batch: Batch, alias: str, causes: Mapping[str, Receipt]) -> None:
    """Let the messenger rest as long as the longest of ``causes`` asks, which are receipts by message id.

    What caused it is due again when the pause is over, and so behind all that is due by then. It uses up an attempt if
    others were sent since it last caused a pause: the account works, and it is this message that is refused. Otherwise
    it may be the account, and nobody's attempt counts. What is left of the batch is given back.
    """
    longest = max(causes.values(), key=lambda receipt: receipt.after or 0.0)
    # Before the messenger's own note of the pause, which says from when on others look whether something is sent.
    now = batch.clock.now()
    seconds, reason = pacing.pause(alias, longest, batch.clock, batch.using)
    states = MessengerState.objects.using(batch.using).filter(messenger=alias)
    sent_at = states.values_list("sent_at", flat=True).first()
    has_sent = _has_sent(batch)
    for key, receipt in causes.items():
        if (row := batch.in_hand.get(key)) is None:
            continue
        is_its_own = row.paused_at is not None and (has_sent or (sent_at is not None and sent_at > row.paused_at))
        verdict = Verdict(Status.RETRY, receipt.reason, at_least=seconds, paused_at=now)
        if not is_its_own:
            verdict = dataclasses.replace(verdict, after=seconds, counts=False)
        batch.verdicts[row.id] = verdict
    logger.warning("The messenger %s pauses for %g s: %s", alias, seconds, reason)
    announce(messenger_paused, MessengerState, messenger=alias, seconds=seconds, reason=reason)
    # The rest of the claim would only hear the same.
    batch.is_broken_off = True


def _has_sent(batch: Batch) -> bool:
    return any(verdict.status is Status.SENT for verdict in batch.verdicts.values())
