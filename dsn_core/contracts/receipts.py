"""What became of one message, as its messenger says it."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final

from dsn_core.contracts.messages import Message

#: Seconds. What takes no time at all would use up every attempt within a moment, or go round without end.
SHORTEST_WAIT: Final = 1.0
#: Seconds. A larger number is in another unit, or a date.
LONGEST_WAIT: Final = 30 * 86_400.0


class Outcome(enum.Enum):
    """The answers a messenger can give."""

    SENT = "sent"
    RETRY = "retry"
    FAILED = "failed"
    INVALID_ADDRESS = "invalid_address"
    UNKNOWN = "unknown"
    LATER = "later"
    PAUSE = "pause"


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What became of one message. Made by the class methods, one per possible answer.

    Each takes one argument by position, and all others by name. Every one takes ``message=`` to say which message it
    is about; without it, receipts are taken in the order of the messages. ``reason`` is kept on the delivery and shown
    to operators: it must not hold secrets. ``after`` is in seconds, and is brought within 1 second and 30 days: what
    providers send is sometimes 0, negative, no number at all (NaN), or a date.
    """

    outcome: Outcome = field(kw_only=False)
    reason: str = ""
    after: float | None = None
    provider_id: str = ""
    message: Message | None = None

    def __post_init__(self) -> None:
        # What libraries give as ids and reasons are often numbers and exceptions.
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
        """The provider took it. ``provider_id`` is its own name for the message, if it gives one."""
        return cls(Outcome.SENT, provider_id=provider_id, message=message)

    @classmethod
    def retry(cls, after: float | None = None, *, reason: str = "", message: Message | None = None) -> Receipt:
        """Not sent, may work later. ``after`` lengthens the back-off and never shortens it; None leaves it alone."""
        return cls(Outcome.RETRY, reason=reason, after=after, message=message)

    @classmethod
    def failed(cls, reason: str, *, message: Message | None = None) -> Receipt:
        """Not sent, and never will be: it is not tried again."""
        return cls(Outcome.FAILED, reason=reason, message=message)

    @classmethod
    def invalid_address(cls, reason: str, *, message: Message | None = None) -> Receipt:
        """Not sent, because the address cannot be used or refuses messages: not tried again."""
        return cls(Outcome.INVALID_ADDRESS, reason=reason, message=message)

    @classmethod
    def unknown(cls, reason: str, *, message: Message | None = None) -> Receipt:
        """It may have been sent: the answer was lost. The messenger's policy decides about a retry."""
        return cls(Outcome.UNKNOWN, reason=reason, message=message)

    @classmethod
    def later(cls, after: float, *, reason: str = "", message: Message | None = None) -> Receipt:
        """Not tried: this message alone comes again after ``after`` seconds. Uses up no attempt.

        For limits of one receiver: a chat that takes one message a second.
        """
        return cls(Outcome.LATER, reason=reason, after=after, message=message)

    @classmethod
    def pause(cls, after: float, *, reason: str, message: Message | None = None) -> Receipt:
        """Not sent; the whole messenger rests for ``after`` seconds, in all workers.

        For what is the account's: a login that is refused, too many requests. This message goes
        behind the others, and uses up an attempt only if another message of the messenger was sent
        since it last caused a pause. Those of the batch that are still unanswered are given back as
        if they had not been claimed. What follows one receiver is no pause, but ``failed`` or
        ``invalid_address``.
        """
        return cls(Outcome.PAUSE, reason=reason, after=after, message=message)


def _seconds(value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"after is {type(value).__name__}; it is a number of seconds.")
    if value != value:  # NaN
        return SHORTEST_WAIT
    # Compared before it becomes a float: an int can be too large for one.
    return float(min(max(value, SHORTEST_WAIT), LONGEST_WAIT))
