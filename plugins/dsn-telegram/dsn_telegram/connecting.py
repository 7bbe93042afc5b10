"""Connects a user's Telegram account, so that its chat becomes their address.

The user opens a link with a one-time token, presses Start, and the bot gets ``/start <token>``. That is not
enough: a link can be stolen, or sent to another person, and then the wrong account pressed Start. So the site shows
the user *which* account it was, and only what they confirm there is stored.
"""

from __future__ import annotations

import datetime
import hashlib
import re
import secrets
from typing import Any, Final

from django.core.cache import cache
from django.db import router, transaction
from django.utils import timezone

from dsn_core import find_users, store_address
from dsn_core.exceptions import ConfigurationError, ProviderError
from dsn_telegram.bot import Bot
from dsn_telegram.models import ConnectionRequest, ConnectionRequestQuerySet
from dsn_telegram.options import options_of
from dsn_telegram.signals import telegram_connected, telegram_disconnected

#: How long a link works, and after Start the confirmation.
VALIDITY: Final = datetime.timedelta(minutes=10)
#: Bytes of randomness in a token. Telegram allows 64 characters, which would be 48 bytes.
_TOKEN_BYTES: Final = 32
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
#: Links of one user that work at the same time (tabs, devices). Older ones stop to work.
MAX_OPEN: Final = 5
#: Seconds for which the bot's name is remembered.
_NAME_SECONDS: Final = 3_600


class BotUnreachable(Exception):
    """The bot does not say its name, without which there is no link. Its text says why."""


def make_link(user: Any, messenger: str, confirm_url: str = "") -> tuple[str, ConnectionRequest]:
    """A link that connects the Telegram account of ``user``, once, within ten minutes; and the row about it.

    ``confirm_url`` is the page to confirm on, which the bot names. Raises :class:`BotUnreachable`, and
    :class:`~dsn_core.exceptions.ConfigurationError` when ``messenger`` is not configured.
    """
    name = bot_name(messenger)
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    now = timezone.now()
    rows = _requests().filter(user=user, messenger=messenger)
    rows.filter(confirmed_at=None, expires_at__lte=now).delete()
    keep = list(rows.filter(confirmed_at=None).order_by("-id").values_list("pk", flat=True)[: MAX_OPEN - 1])
    rows.filter(confirmed_at=None).exclude(pk__in=keep).delete()
    row = rows.create(
        user=user,
        messenger=messenger,
        token_digest=digest(token),
        confirm_url=confirm_url,
        created_at=now,
        expires_at=now + VALIDITY,
    )
    return f"https://t.me/{name}?start={token}", row


def bot_name(messenger: str) -> str:
    """The bot's user name, without the ``@``. Asked once an hour."""
    options = options_of(messenger)
    key = f"dsn_telegram.name.{options.bot_id}"
    if name := cache.get(key):
        return str(name)
    try:
        answer = Bot(options).call("getMe")
    except ProviderError as error:
        raise BotUnreachable(str(error)) from None
    name = answer.result.get("username") if answer.ok and isinstance(answer.result, dict) else None
    if not isinstance(name, str) or not re.fullmatch(r"\w{1,64}", name, re.ASCII):
        raise BotUnreachable(f"The Bot API does not say the bot's name ({answer.status}: {answer.description}).")
    cache.set(key, name, _NAME_SECONDS)
    return name


def digest(token: str) -> str:
    """What is stored of a token. It has 256 random bits, so that no salt and no slow hash is needed."""
    return hashlib.sha256(token.encode("ascii")).hexdigest()


def start(token: str, messenger: str, chat: str, account: str) -> ConnectionRequest | None:
    """Start was pressed: use the token up, and note by which account. None when there is no such token (any more).

    Telegram repeats an update whose answer it did not get: the same chat gets the same answer again.
    """
    if not _TOKEN.fullmatch(token):
        return None
    now = timezone.now()
    row = _requests().filter(token_digest=digest(token), messenger=messenger)
    # One UPDATE: of two requests at once, one finds the token unused.
    used = row.filter(started_at=None, confirmed_at=None, expires_at__gt=now).update(
        started_at=now, expires_at=now + VALIDITY, chat=chat, account=account[:200]
    )
    return (row if used else row.open().filter(chat=chat)).select_related("user").first()


def to_confirm(user: Any, messenger: str) -> list[ConnectionRequest]:
    """The accounts that pressed Start with a link of ``user`` and wait for their word, the latest first."""
    rows = _requests().open().filter(user=user, messenger=messenger)
    return list(rows.exclude(started_at=None).order_by("-started_at"))


def confirm(user: Any, key: int) -> ConnectionRequest | None:
    """The user says that the account is theirs: store its chat as their address. None when it is too late.

    All other links of the user stop to work. Raises :class:`~dsn_core.exceptions.ConfigurationError` when the
    address cannot be stored.
    """
    rows = _requests()
    with transaction.atomic(using=rows.db):
        row = rows.open().filter(user=user, pk=key).exclude(started_at=None).select_related("user").first()
        now = timezone.now()
        if row is None or not rows.open().filter(pk=row.pk).update(confirmed_at=now):
            return None
        store_address(row.user, row.messenger, row.chat, verified_at=now)
        rows.filter(user=user, messenger=row.messenger).exclude(pk=row.pk).delete()
    telegram_connected.send_robust(sender=type(row.user), user=row.user, messenger=row.messenger)
    return row


def refuse(user: Any, key: int) -> None:
    """The user says that the account is not theirs."""
    _requests().filter(user=user, pk=key, confirmed_at=None).delete()


def disconnect(user: Any, messenger: str) -> None:
    """Remove the user's address."""
    store_address(user, messenger, "")
    _requests().filter(user=user, messenger=messenger).delete()
    telegram_disconnected.send_robust(sender=type(user), user=user, messenger=messenger)


def disconnect_chat(messenger: str, chat: str) -> int:
    """Remove ``chat`` as the address of all users who have it; return of how many.

    Connections that wait to be confirmed cannot be confirmed any more.
    """
    _requests().filter(messenger=messenger, chat=chat, confirmed_at=None).delete()
    users = list(find_users(messenger, chat))
    for user in users:
        disconnect(user, messenger)
    return len(users)


def connected(user: Any, messenger: str) -> ConnectionRequest | None:
    """The confirmed connection whose chat still is the user's address."""
    row = _requests().filter(user=user, messenger=messenger).exclude(confirmed_at=None).first()
    try:
        holds = row is not None and find_users(messenger, row.chat).filter(pk=user.pk).exists()
    except ConfigurationError:
        return None
    return row if holds else None


def _requests() -> ConnectionRequestQuerySet:
    return ConnectionRequest.objects.using(router.db_for_write(ConnectionRequest))
