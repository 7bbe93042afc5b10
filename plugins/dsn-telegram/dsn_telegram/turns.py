"""Whose turn it is: a chat takes one message a second, a group twenty a minute, from all workers together."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from dsn_core import Receipt, find_users, store_address
from dsn_core.exceptions import ConfigurationError
from dsn_telegram import pace
from dsn_telegram.courier import Delivered
from dsn_telegram.letters import Letter

logger = logging.getLogger("dsn_telegram")


def take(bot: str, letters: Sequence[Letter]) -> tuple[list[Letter], list[Receipt]]:
    """The letters whose turn it is, with their chats up to date, and the receipts of those that come later.

    One letter for each chat at most; those behind it come one interval after another, not all at once.
    """
    moved = pace.moves(bot, [letter.chat for letter in letters])
    queues: dict[str, list[Letter]] = {}
    for letter in letters:
        letter.chat = moved.get(letter.chat, letter.chat)
        queues.setdefault(letter.chat, []).append(letter)
    waits = pace.book(bot, {chat: len(queue[0].calls) for chat, queue in queues.items()})
    now: list[Letter] = []
    later: list[Receipt] = []
    for chat, queue in queues.items():
        wait = waits[chat]
        for letter in queue:
            if wait == 0.0:
                now.append(letter)
            else:
                later.append(Receipt.later(wait, f"It is not yet the turn of the chat {chat}.", message=letter.message))
            wait += len(letter.calls) * letter.interval
    return now, later


def move(bot: str, alias: str, delivered: Delivered) -> None:
    """A group became a supergroup: remember it, and store it as the address of everybody who had the old one."""
    old, new = delivered.moved_from, delivered.letter.chat
    pace.remember_move(bot, old, new)
    try:
        for user in find_users(alias, old):
            store_address(user, alias, new)
    except ConfigurationError as error:
        # The messages arrive all the same; only the address stays the old one.
        logger.warning("The chat %s became %s, which cannot be stored as an address: %s", old, new, error)
