"""Checks the options, for ``dsn_plugins`` and ``check --deploy``.

==================  ================================================================================
id                  what it says
==================  ================================================================================
dsn_telegram.E001   ``BOT_TOKEN`` is no token. (That it is missing, dsn-core says: ``dsn.W020``.)
dsn_telegram.E002   ``API_BASE`` is no ``https`` address, or ``http`` to another machine.
dsn_telegram.E003   ``WEBHOOK_SECRET`` is nothing that Telegram takes as a secret.
dsn_telegram.W004   The webhook has an address, but no ``WEBHOOK_SECRET``: it refuses every call.
==================  ================================================================================
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from django.core.checks import CheckMessage, Error, Warning
from django.urls import NoReverseMatch, reverse

from dsn_core.kit import http
from dsn_telegram.options import NAME, TelegramOptions

_TOKEN: Final = re.compile(r"[0-9]+:[A-Za-z0-9_-]+", re.ASCII)
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{1,256}", re.ASCII)


def problems(options: TelegramOptions) -> list[CheckMessage]:
    """Everything wrong with ``options``, without a network call, and without showing a secret."""
    found: list[CheckMessage] = []
    if not _TOKEN.fullmatch(options.BOT_TOKEN):
        hint = "Copy it from @BotFather: digits, a colon, and letters, digits, '_' and '-'. No spaces, no quotes."
        found.append(Error("BOT_TOKEN is no token of a bot.", hint=hint, id="dsn_telegram.E001"))
    if why := _not_an_api(options.API_BASE):
        hint = "The public one is https://api.telegram.org; a server of your own may be http only on this machine."
        found.append(Error(f"API_BASE {why}.", hint=hint, id="dsn_telegram.E002"))
    if options.WEBHOOK_SECRET and not _SECRET.fullmatch(options.WEBHOOK_SECRET):
        hint = "It has 1 to 256 letters, digits, '_' and '-': secrets.token_urlsafe() makes one."
        found.append(Error("WEBHOOK_SECRET cannot be used.", hint=hint, id="dsn_telegram.E003"))
    if not options.WEBHOOK_SECRET and _webhook_is_routed():
        hint = (
            "Set it to what secrets.token_urlsafe() makes, and run 'manage.py dsn_telegram --set-webhook URL'; or take "
            "dsn_telegram.webhook_urls out of the URLs, and run 'manage.py dsn_telegram_poll'."
        )
        message = "There is a webhook, but no WEBHOOK_SECRET, so that it refuses every call."
        found.append(Warning(message, hint=hint, id="dsn_telegram.W004"))
    return found


def _not_an_api(base: str) -> str:
    """Why ``base`` cannot be where the Bot API is; empty when it can."""
    try:
        address = urlsplit(base)
        host, _ = address.hostname or "", address.port
    except ValueError:
        return "is no address"
    if address.scheme not in ("https", "http") or not host:
        return "is no address: it begins with https://"
    if address.query or address.fragment or address.username or address.password:
        return "has more than a host and a path"
    if address.scheme == "http" and not http.is_loopback(host):
        return "is not https: the token would go over the network in the clear"
    return ""


def _webhook_is_routed() -> bool:
    try:
        reverse("dsn_telegram_webhook:webhook", kwargs={"messenger": NAME})
    except NoReverseMatch:
        return False
    except Exception:
        # A project's URLs that cannot be imported have a check of their own.
        return False
    return True
