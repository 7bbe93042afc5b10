"""The expected results of the demo, written down here independently of the code under test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from stand_ins.smtp import Mail

MOVIE: Final = "Solaris"

#: The addresses that must get exactly one e-mail, and the reasons.
MAILS: Final = {
    "ann@example.org": "is in the Film club",
    "ben@example.org": "is in the Film club and gets the Newsletter",
    "cleo@example.org": "is in the Film club and gets the Newsletter",
    "dan@example.org": "gets the Newsletter and waits for Solaris",
    "eve@example.org": "is in no group, but waits for Solaris",
    "press@example.org": "is no user: a bare address",
}
#: The addresses that must get none although their users are in a group.
NO_MAIL: Final = {"fay@example.org": "gets the Newsletter, but the account is switched off"}

#: The chat of the account that Eve connects in the course of the demo.
EVES_CHAT: Final = 1005
#: Each chat, and whose it is, that must get exactly one Telegram message about the movie.
CHATS: Final = {"1001": "Ann", "1003": "Cleo", str(EVES_CHAT): "Eve"}
#: The same for SMS, with the numbers as the provider gets them.
NUMBERS: Final = {"+4915112345601": "Ann", "+4915112345604": "Dan"}

#: Of everybody whom the release concerns: what they have, and what must become of each message.
PEOPLE: Final = {
    "ann": ("e-mail, Telegram and SMS", {"email": "sent", "telegram": "sent", "sms": "sent, delivered"}),
    "ben": ("e-mail only", {"email": "sent", "telegram": "skipped", "sms": "skipped"}),
    "cleo": ("e-mail and Telegram", {"email": "sent", "telegram": "sent", "sms": "skipped"}),
    "dan": ("e-mail and SMS", {"email": "sent", "telegram": "skipped", "sms": "sent, delivered"}),
    "eve": ("e-mail; has just connected Telegram", {"email": "sent", "telegram": "sent", "sms": "skipped"}),
    "fay": ("the account is switched off", {"email": "skipped", "telegram": "skipped", "sms": "skipped"}),
    "gus": ("no address at all", {"email": "skipped", "telegram": "skipped", "sms": "skipped"}),
    "hal": ("Telegram only, and blocked the bot", {"email": "skipped", "telegram": "failed", "sms": "skipped"}),
    "ida": ("SMS only, and answered STOP", {"email": "skipped", "telegram": "skipped", "sms": "failed"}),
    "press@example.org": ("no user, but a bare address", {"email": "sent"}),
}
#: The users, with messengers, for which the signal address_refused must be sent.
REFUSED: Final = {("hal", "telegram"), ("ida", "sms")}


def wrong_mails(mails: list[Mail]) -> list[str]:
    """Compare the received e-mails with the expected ones."""
    arrived = Counter(address for mail in mails for address in mail.receivers)
    problems = []
    for address, because in MAILS.items():
        if arrived[address] != 1:
            problems.append(f"{address} {because}, and must get exactly one e-mail, but got {arrived[address]}.")
    for address in sorted(set(arrived) - set(MAILS)):
        because = NO_MAIL.get(address, "is not known to the cinema")
        problems.append(f"{address} {because}, and must get no e-mail, but got {arrived[address]}.")
    for mail in mails:
        if mail.receivers != (mail.to,):
            problems.append(f"An e-mail to {mail.to} was sent to {', '.join(mail.receivers)}.")
        if mail.subject != f"{MOVIE} is out" or MOVIE not in mail.part("plain") or MOVIE not in mail.part("html"):
            problems.append(f"The e-mail to {mail.to} does not say, in subject, text and HTML, that {MOVIE} is out.")
    return problems


def wrong_messages(kind: str, wanted: Mapping[str, str], receivers: Iterable[str]) -> list[str]:
    """The same for messages of another ``kind``, of which ``receivers`` got one about the movie each."""
    arrived = Counter(receivers)
    problems = [
        f"{name} ({address}) must get exactly one {kind} about {MOVIE}, but got {arrived[address]}."
        for address, name in wanted.items()
        if arrived[address] != 1
    ]
    return problems + [f"The {kind} to {address} was not expected." for address in sorted(set(arrived) - set(wanted))]


def wrong_deliveries(found: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Compare what dsn-core recorded, by receiver and messenger, with what must have become of it."""
    problems = []
    for name in sorted(set(PEOPLE) | set(found)):
        wanted, recorded = PEOPLE.get(name, ("", {}))[1], found.get(name, {})
        for messenger in sorted(set(wanted) | set(recorded)):
            is_, must = recorded.get(messenger, "not there"), wanted.get(messenger, "not there")
            if is_ != must:
                problems.append(f"The delivery to {name} by {messenger} must be {must}, and is {is_}.")
    return problems


def wrong_refusals(heard: Collection[Any]) -> list[str]:
    """What the signal address_refused told, once each."""
    if Counter(heard) == Counter(REFUSED):
        return []
    told = ", ".join(f"{name} by {messenger}" for name, messenger in sorted(heard)) or "no user"
    return [f"The signal address_refused must tell of hal by telegram and ida by sms, and told of {told}."]
