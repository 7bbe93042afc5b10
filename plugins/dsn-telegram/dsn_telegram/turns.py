"""Takes the turns of chats: one message a second to a person, twenty a minute to a group, from all workers together."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from dsn_core import Receipt, find_users, store_address
from dsn_core.exceptions import ConfigurationError
from dsn_telegram import pace
from dsn_telegram.calls import Outgoing
from dsn_telegram.transport import Result

logger = logging.getLogger("dsn_telegram")


def take(bot: str, messages: Sequence[Outgoing]) -> tuple[list[Outgoing], list[Receipt]]:
    """The messages whose turn it is, with their chats up to date, and the receipts of those that come later.

    One message for each chat at most; those behind it come one interval after another, not all at once.
    """
    moved = pace.moves(bot, [outgoing.chat for outgoing in messages])
    queues: dict[str, list[Outgoing]] = {}
    for outgoing in messages:
        outgoing.chat = moved.get(outgoing.chat, outgoing.chat)
        queues.setdefault(outgoing.chat, []).append(outgoing)
    waits = pace.book(bot, {chat: len(queue[0].calls) for chat, queue in queues.items()})
    now: list[Outgoing] = []
    later: list[Receipt] = []
    for chat, queue in queues.items():
        wait = waits[chat]
        for outgoing in queue:
            if wait == 0.0:
                now.append(outgoing)
            else:
                reason = f"It is not yet the turn of the chat {chat}."
                later.append(Receipt.later(wait, reason=reason, message=outgoing.message))
            wait += len(outgoing.calls) * outgoing.interval
    return now, later


def move(bot: str, alias: str, result: Result) -> None:
    """A group became a supergroup: remember it, and store it as the address of all users who had the old one."""
    old, new = result.moved_from, result.outgoing.chat
    pace.remember_move(bot, old, new)
    try:
        for user in find_users(alias, old):
            store_address(user, alias, new)
    except ConfigurationError as error:
        # The messages arrive all the same; only the address stays the old one.
        logger.warning("The chat %s became %s, which cannot be stored as an address: %s", old, new, error)
