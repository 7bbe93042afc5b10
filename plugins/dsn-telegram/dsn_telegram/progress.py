"""Messages of several calls that stop half way go on from there, instead of beginning anew."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import router

from dsn_core import Outcome
from dsn_telegram.courier import Delivered
from dsn_telegram.letters import Letter
from dsn_telegram.models import HalfSent


def resume(bot: str, letters: Sequence[Letter]) -> None:
    """Set how much of each letter is through already. One query, for those of several calls only."""
    long = {letter.message.id: letter for letter in letters if len(letter.calls) > 1}
    if not long:
        return
    rows = HalfSent.objects.using(router.db_for_write(HalfSent)).filter(bot=bot, message_id__in=list(long))
    for message_id, done in rows.values_list("message_id", "done"):
        letter = long[message_id]
        letter.resumed = True
        # A template that was shortened meanwhile: its last call is made again, so that something is said.
        letter.done = min(done, len(letter.calls) - 1)


def keep(bot: str, delivered: Delivered) -> None:
    """Remember where a letter stopped, or forget that it ever did."""
    letter = delivered.letter
    if len(letter.calls) == 1:
        return
    rows = HalfSent.objects.using(router.db_for_write(HalfSent))
    if delivered.receipt.outcome is Outcome.SENT:
        if letter.resumed:
            rows.filter(bot=bot, message_id=letter.message.id).delete()
    elif letter.done:
        rows.update_or_create(bot=bot, message_id=letter.message.id, defaults={"done": letter.done})
