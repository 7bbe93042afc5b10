"""Receipts: a messenger's answer about one message."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final

from dsn_core.contracts.messages import Message

#: Seconds. Without a least wait, all attempts would be used up at once, or the worker would loop.
SHORTEST_WAIT: Final = 1.0
#: Seconds. A larger number is probably in another unit, or a date.
LONGEST_WAIT: Final = 30 * 86_400.0


class Outcome(enum.Enum):
    """The kinds of receipts."""

    SENT = "sent"
    RETRY = "retry"
    FAILED = "failed"
    INVALID_ADDRESS = "invalid_address"
    UNKNOWN = "unknown"
    LATER = "later"
    PAUSE = "pause"


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The outcome of sending one message. Made by the class methods, one per outcome.

    Each takes one argument by position, and all others by name. ``message=`` is the message that it is about; without
    it, receipts are in the order of the messages. ``reason`` is kept on the delivery and shown to operators: it must
    not hold secrets. ``after`` is in seconds, and is limited to between 1 second and 30 days: providers sometimes send
    0, a negative number, NaN or a date.
    """

    outcome: Outcome = field(kw_only=False)
    reason: str = ""
    after: float | None = None
    provider_id: str = ""
    message: Message | None = None

    def __post_init__(self) -> None:
        # Ids and reasons from libraries are often numbers and exceptions.
        for name in ("reason", "provider_id"):
            value = getattr(self, name)
            if type(value) is str:
                continue
            if isinstance(value, Message):
                raise TypeError(
                    f"A receipt's {name} is a text, not the message; write message=... to name the message."
                )
            object.__setattr__(self, name, "" if value is None else str(value))
        if self.after is not None:
            object.__setattr__(self, "after", _seconds(self.after))
        elif self.outcome in (Outcome.LATER, Outcome.PAUSE):
            object.__setattr__(self, "after", SHORTEST_WAIT)

    @classmethod
    def sent(cls, provider_id: str = "", *, message: Message | None = None) -> Receipt:
        """The provider took it. ``provider_id`` is the provider's id of the message, if there is one."""
        return cls(Outcome.SENT, provider_id=provider_id, message=message)

    @classmethod
    def retry(cls, after: float | None = None, *, reason: str = "", message: Message | None = None) -> Receipt:
        """Not sent, may work later. ``after`` can only lengthen the back-off; None leaves it as it is."""
        return cls(Outcome.RETRY, reason=reason, after=after, message=message)

    @classmethod
    def failed(cls, reason: str, *, message: Message | None = None) -> Receipt:
        """Not sent, and not tried again."""
        return cls(Outcome.FAILED, reason=reason, message=message)

    @classmethod
    def invalid_address(cls, reason: str, *, message: Message | None = None) -> Receipt:
        """Not sent, since the address cannot be used or refuses messages, and not tried again."""
        return cls(Outcome.INVALID_ADDRESS, reason=reason, message=message)

    @classmethod
    def unknown(cls, reason: str, *, message: Message | None = None) -> Receipt:
        """It may have been sent: the answer was lost. The messenger's ``retry_unknown`` decides about a retry."""
        return cls(Outcome.UNKNOWN, reason=reason, message=message)

    @classmethod
    def later(cls, after: float, *, reason: str = "", message: Message | None = None) -> Receipt:
        """Not tried: this message alone is tried again after ``after`` seconds. Uses up no attempt.

        For limits of one receiver, such as a chat that takes one message a second.
        """
        return cls(Outcome.LATER, reason=reason, after=after, message=message)

    @classmethod
    def pause(cls, after: float, *, reason: str, message: Message | None = None) -> Receipt:
        """Not sent; the whole messenger pauses for ``after`` seconds, in all workers.

        For errors of the account: a refused login, too many requests; for errors of one receiver use ``failed`` or
        ``invalid_address``. This message goes behind the others, and uses up an attempt only if another message of the
        messenger was sent since it last caused a pause. The messages of the batch without a receipt are released as if
        they had not been claimed.
        """
        return cls(Outcome.PAUSE, reason=reason, after=after, message=message)


def _seconds(value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"after is {type(value).__name__}; it is a number of seconds.")
    if value != value:  # NaN
        return SHORTEST_WAIT
    # Compared before it becomes a float: an int can be too large for one.
    return float(min(max(value, SHORTEST_WAIT), LONGEST_WAIT))
