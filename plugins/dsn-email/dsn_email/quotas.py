"""Recognises replies which say that the account has used up its sending quota."""

from __future__ import annotations

import re
from typing import Final

#: Seconds until a quota is renewed: most are counted by the day.
QUOTA_PAUSE: Final = 86_400.0

#: Gmail's "sending limit exceeded", Exchange Online's "daily limit for message recipients".
_DETAILS: Final = frozenset({"4.4.5", "5.4.5", "5.1.90"})
#: A mailbox that is full, disabled or receives too much: the status codes of RFC 3463 that are about it.
_MAILBOX_DETAILS: Final = frozenset({"4.2.1", "4.2.2", "5.2.1", "5.2.2"})
#: Words about what a sender's quota counts.
_SENT: Final = r"daily|hourly|monthly|weekly|sending|outgoing|outbound|submission|relay(?:ing)?|transmission"
_QUOTA: Final = re.compile(
    rf"\b(?:{_SENT})\b[^.;]{{0,60}}\b(?:quota|limit|allowance|credits?)\b"
    rf"|\b(?:quota|limit|allowance|credits?)\b[^.;]{{0,60}}\b(?:{_SENT}|per (?:day|hour|week|month))\b"
    r"|submissionquotaexceeded"
    r"|\b(?:quota|limit) for (?:your|this|the) (?:account|user|plan)\b"
    r"|\b(?:account|user|plan)(?:'s)? (?:message |e-?mail |mail )?(?:quota|limit)\b",
    re.IGNORECASE,
)
#: Words about a receiver's mailbox, or the size of one message.
_OTHER: Final = re.compile(
    r"mailbox|inbox|storage|disk|receiv|recipient's|tried to reach|trying to (?:contact|reach)"
    r"|\bsize\b|too (?:large|big)",
    re.IGNORECASE,
)


def is_quota(text: str, detail: str = "") -> bool:
    """Whether a refusal says that the account's quota is used up; ``detail`` is its enhanced status code."""
    if detail in _MAILBOX_DETAILS:
        return False
    if detail in _DETAILS:
        return True
    return bool(_QUOTA.search(text)) and not _OTHER.search(text)
