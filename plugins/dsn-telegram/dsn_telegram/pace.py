"""Paces the messages to a chat, for all workers, and follows chats that moved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from django.db import models, router

from dsn_core.kit import database
from dsn_telegram.addresses import interval_of
from dsn_telegram.models import Chat


@database.insisting(Chat)
def moves(bot: str, chats: Iterable[str]) -> dict[str, str]:
    """Where those of ``chats`` went that became supergroups; makes the rows of chats that are new."""
    rows = _chats_of(bot)
    wanted = set(chats)
    known = dict(rows.filter(chat__in=wanted).values_list("chat", "moved_to"))
    moved = {old: new for old, new in known.items() if new}
    _make((wanted - set(known)) | (set(moved.values()) - set(known)), bot, rows.db)
    return moved


@database.insisting(Chat)
def remember_move(bot: str, old: str, new: str) -> None:
    """From now on, messages to ``old`` go to ``new``."""
    rows = _chats_of(bot)
    _make({old, new}, bot, rows.db)
    # What led to the old one leads on, so that no chain has to be followed.
    rows.filter(models.Q(chat=old) | models.Q(moved_to=old)).update(moved_to=new)


@database.insisting(Chat)
def book(bot: str, calls: Mapping[str, int]) -> dict[str, float]:
    """Take each chat's turn for so many calls; return by chat how many seconds its turn is away: 0, it is now.

    A turn that is away was not taken. The rows must be there: see :func:`moves`.
    """
    lasting = {chat: number * interval_of(chat) for chat, number in calls.items()}
    return database.take_turns(_chats_of(bot), lasting, key="chat")


def _chats_of(bot: str) -> models.QuerySet[Chat]:
    return Chat.objects.using(router.db_for_write(Chat)).filter(bot=bot)


def _make(chats: Iterable[str], bot: str, using: str) -> None:
    # In one order everywhere: two workers that insert the same rows in two orders would block each other.
    database.insert_missing([Chat(bot=bot, chat=chat) for chat in sorted(chats)], using, key=["bot", "chat"])
