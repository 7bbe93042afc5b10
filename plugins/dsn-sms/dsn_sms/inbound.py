"""Turns an incoming message into the signal ``sms_received``."""

from __future__ import annotations

import hashlib
import logging
from typing import Final

from django.core.cache import cache

from dsn_core.exceptions import InvalidAddress
from dsn_core.kit import describe
from dsn_sms import numbers
from dsn_sms.messenger import SMSMessenger
from dsn_sms.providers.base import Inbound
from dsn_sms.signals import sms_received

logger = logging.getLogger("dsn_sms")

#: Seconds for which a message is remembered, so that a repeated or replayed request has no effect.
REMEMBERED: Final = 7 * 86_400

#: The words that carriers and providers agree on, as whole messages.
_KEYWORDS: Final = {
    **dict.fromkeys(
        ("STOP", "STOPALL", "STOP ALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"), "stop"
    ),
    **dict.fromkeys(("START", "UNSTOP", "SUBSCRIBE"), "start"),
    **dict.fromkeys(("HELP", "INFO"), "help"),
}


def kind_of(text: str) -> str:
    """``"stop"``, ``"start"`` or ``"help"`` for a message that is only that word; else an empty string."""
    return _KEYWORDS.get(" ".join(text.upper().strip(" \t\r\n.!\"'").split()), "")


def pass_on(message: Inbound, alias: str) -> bool:
    """Send ``sms_received``. Returns False when a receiver raised: then the provider should come again.

    A message that was passed on before is passed over, as far as Django's cache remembers.
    """
    key = f"dsn_sms.{hashlib.sha256(f'{alias}:{message.id}'.encode()).hexdigest()}"
    if not cache.add(key, True, REMEMBERED):
        logger.info("An SMS to %s came a second time.", alias)
        return True
    answers = sms_received.send_robust(
        sender=SMSMessenger,
        messenger=alias,
        number=_normalised(message.number),
        text=message.text,
        kind=message.kind or kind_of(message.text),
        to=message.to,
        message_id=message.id,
        raw=dict(message.raw),
    )
    errors = [answer for _, answer in answers if isinstance(answer, Exception)]
    for error in errors:
        logger.error("A receiver of sms_received raised %s", describe(error), exc_info=error)
    if errors:
        cache.delete(key)
    return not errors


def _normalised(number: str) -> str:
    """E.164, as phonenumbers spells it. Short codes and names stay as they are."""
    try:
        return numbers.parse(number, "").e164 if number.startswith("+") else number
    except InvalidAddress:
        return number
