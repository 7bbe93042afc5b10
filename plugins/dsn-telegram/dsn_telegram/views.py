"""The pages on which users connect their Telegram account, and the webhook."""

from __future__ import annotations

import json
import logging
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseForbidden, JsonResponse
from django.shortcuts import redirect, render
from django.urls import NoReverseMatch, reverse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from dsn_core.exceptions import ConfigurationError
from dsn_telegram import connecting, updates
from dsn_telegram.options import NAME, accounts, options_of

logger = logging.getLogger("dsn_telegram")


@require_GET
@login_required
@never_cache
def connect(request: HttpRequest, messenger: str = NAME) -> HttpResponseBase:
    """A fresh link to the bot, and the way to the page that confirms."""
    _require_account(messenger)
    try:
        link, row = connecting.make_link(request.user, messenger, confirm_page(request, messenger))
    except connecting.BotUnreachable as error:
        logger.warning("There is no link to connect Telegram: %s", error)
        return _page(request, messenger, "unreachable.html", status=503)
    except ConfigurationError as error:
        raise Http404(str(error)) from None
    return _page(request, messenger, "connect.html", link=link, minutes=row.minutes_left)


@require_http_methods(["GET", "POST"])
@login_required
@never_cache
def confirm(request: HttpRequest, messenger: str = NAME) -> HttpResponseBase:
    """Shows which account pressed Start, and stores it when the user says that it is theirs."""
    _require_account(messenger)
    if request.method == "POST":
        key = request.POST.get("request", "")
        if key.isdecimal() and len(key) < 19:
            if "refuse" in request.POST:
                connecting.refuse(request.user, int(key))
            else:
                connecting.confirm(request.user, int(key))
        # What it came to, the page shows: connected, or nothing (any more) to confirm.
        return redirect(request.path)
    return _page(request, messenger, "confirm.html", waiting=connecting.to_confirm(request.user, messenger))


@require_POST
@login_required
def disconnect(request: HttpRequest, messenger: str = NAME) -> HttpResponseBase:
    """Removes the user's address."""
    _require_account(messenger)
    connecting.disconnect(request.user, messenger)
    return redirect(reverse("dsn_telegram:confirm", kwargs={"messenger": messenger}))


@csrf_exempt
@require_POST
def webhook(request: HttpRequest, messenger: str = NAME) -> HttpResponseBase:
    """What Telegram calls with updates. The answer is the bot's reply, so that nothing is waited for."""
    try:
        secret = options_of(messenger).WEBHOOK_SECRET
    except ConfigurationError:
        raise Http404("There is no such messenger.") from None
    given = request.headers.get("X-Telegram-Bot-Api-Secret-Token", "")
    # Without a secret any client could send updates, so that none are taken.
    if not secret or not constant_time_compare(given.encode("utf-8", "replace"), secret):
        return HttpResponseForbidden("The secret is missing or wrong.", content_type="text/plain")
    try:
        update = json.loads(request.body)
    except (ValueError, RecursionError, SuspiciousOperation, OSError):
        # No JSON, too deep, too large, or broken off.
        return HttpResponse("This is no update.", status=400, content_type="text/plain")
    reply = updates.reply_to(update, messenger)
    return HttpResponse(status=200) if reply is None else JsonResponse(reply)


def _require_account(messenger: str) -> None:
    """Answer 404 for what is no account of this messenger: these pages change addresses."""
    if messenger not in accounts():
        raise Http404(f"There is no account {messenger!r} of the messenger {NAME!r}.")


def confirm_page(request: HttpRequest, messenger: str) -> str:
    """The page that confirms, as an address for other programs; empty where the project has none."""
    try:
        return request.build_absolute_uri(reverse("dsn_telegram:confirm", kwargs={"messenger": messenger}))
    except NoReverseMatch:
        return ""


def _page(request: HttpRequest, messenger: str, template: str, status: int = 200, **context: Any) -> HttpResponse:
    context |= {"messenger": messenger, "connected": connecting.connected(request.user, messenger)}
    response = render(request, f"dsn_telegram/{template}", context, status=status)
    # Where the link leads is no business of the pages that are opened from here.
    response.headers.setdefault("Referrer-Policy", "same-origin")
    return response
