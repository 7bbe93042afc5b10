"""Acts on updates of the bot, from the webhook and from polling."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any, Final

from django.utils.translation import gettext as _

from dsn_core.exceptions import ConfigurationError
from dsn_telegram import connecting

logger = logging.getLogger("dsn_telegram")

#: The kinds of updates that are asked for.
ALLOWED: Final = ("message",)
_COMMAND: Final = re.compile(r"/(start|stop)(?:@\w+)?(?:\s+(\S+))?\s*", re.ASCII)


def reply_to(update: object, messenger: str) -> dict[str, Any] | None:
    """Act on ``update`` (the Bot API's ``Update``), and return the call to answer with, as its method and params.

    None for everything that is not ``/start`` or ``/stop``, and for what is no update at all. Calls nothing, so
    that a webhook can answer at once.
    """
    message = update.get("message") if isinstance(update, Mapping) else None
    if not isinstance(message, Mapping):
        return None
    chat, sender, text = message.get("chat"), message.get("from"), message.get("text")
    if not isinstance(chat, Mapping) or not _is_id(chat.get("id")) or not isinstance(text, str):
        return None
    command = _COMMAND.fullmatch(text)
    if command is None:
        return None
    said = _said(command[1], command[2] or "", messenger, chat, sender if isinstance(sender, Mapping) else {})
    return {"method": "sendMessage", "chat_id": chat["id"], "text": said} if said else None


def _said(command: str, token: str, messenger: str, chat: Mapping[str, Any], sender: Mapping[str, Any]) -> str:
    chat_id = str(chat["id"])
    if chat.get("type") != "private":
        # A token is one person's, and one member must not stop the messages to a group.
        return _("The id of this chat is %(id)s.") % {"id": chat_id} if command == "start" and not token else ""
    if command == "stop":
        return _stopped(messenger, chat_id)
    if not token:
        return _(
            "To get messages here, open the link on the site's page about Telegram. The id of this chat is %(id)s."
        ) % {"id": chat_id}
    request = connecting.start(token, messenger, chat_id, account_of(sender))
    if request is None:
        return _("This link cannot be used (any more): it works once, for ten minutes. Get a new one on the site.")
    return _(
        "One more step: confirm on the site that this is your Telegram account. Then messages for “%(user)s” come "
        "here.\n%(url)s\n\nIf you did not ask for this, send /stop."
    ) % {"user": request.user, "url": request.confirm_url}


def _stopped(messenger: str, chat: str) -> str:
    try:
        count = connecting.disconnect_chat(messenger, chat)
    except ConfigurationError as error:
        logger.error("A user sent /stop, and their address cannot be removed: %s", error)
        return _("This does not work at the moment. You can disconnect on the site.")
    if not count:
        return _("This chat is not connected. Nothing comes here.")
    return _("Disconnected: no more messages come here. On the site you can connect again.")


def account_of(sender: Mapping[str, Any]) -> str:
    """How people know a Telegram account: ``"Ann Smith (@ann)"``. Chosen by its owner: never trusted, only shown."""
    given = [sender.get(key) for key in ("first_name", "last_name")]
    names = [name for name in given if isinstance(name, str)]
    name = " ".join("".join(sign if sign.isprintable() else " " for sign in " ".join(names)).split())[:150]
    user_name = sender.get("username")
    if isinstance(user_name, str) and re.fullmatch(r"\w{1,64}", user_name, re.ASCII):
        return f"{name} (@{user_name})".strip()
    return f"{name} ({sender['id'] if _is_id(sender.get('id')) else ''})".strip()


def _is_id(value: object) -> bool:
    """Whether it can be the id of a chat or a user: those have at most 52 bits."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
