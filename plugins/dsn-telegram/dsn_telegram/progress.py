"""Keeps how far a message of several calls came, so that its next attempt goes on from there."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import router

from dsn_core import Outcome
from dsn_telegram.calls import Outgoing
from dsn_telegram.models import HalfSent
from dsn_telegram.transport import Result


def resume(bot: str, messages: Sequence[Outgoing]) -> None:
    """Set how much of each message is through already. One query, for those of several calls only."""
    long = {outgoing.message.id: outgoing for outgoing in messages if len(outgoing.calls) > 1}
    if not long:
        return
    rows = HalfSent.objects.using(router.db_for_write(HalfSent)).filter(bot=bot, message_id__in=list(long))
    for message_id, done in rows.values_list("message_id", "done"):
        outgoing = long[message_id]
        outgoing.resumed = True
        # A template that was shortened meanwhile: its last call is made again, so that something is said.
        outgoing.done = min(done, len(outgoing.calls) - 1)


def keep(bot: str, result: Result) -> None:
    """Remember where a message stopped, or forget that it did."""
    outgoing = result.outgoing
    if len(outgoing.calls) == 1:
        return
    rows = HalfSent.objects.using(router.db_for_write(HalfSent))
    if result.receipt.outcome is Outcome.SENT:
        if outgoing.resumed:
            rows.filter(bot=bot, message_id=outgoing.message.id).delete()
    elif outgoing.done:
        rows.update_or_create(bot=bot, message_id=outgoing.message.id, defaults={"done": outgoing.done})
