"""The step in which Eve connects her Telegram account: the site, her browser, and her telephone."""

from __future__ import annotations

import html
import re
from typing import Final
from urllib.parse import parse_qs, urlsplit

from walkthrough.expected import EVES_CHAT
from walkthrough.output import quote, say, step
from walkthrough.site import Browser, text_of
from walkthrough.world import World

CONNECT: Final = "/telegram/telegram/connect/"
CONFIRM: Final = "/telegram/telegram/confirm/"
WEBHOOK: Final = "/telegram/telegram/webhook/"


def connect_eve(world: World) -> list[str]:
    """All of it. Returns what is not as it must be."""
    from django.core.management import call_command

    from cinema.example_data import ADMIN

    step("Eve connects her Telegram account")
    say("A bot can write only to users who pressed Start. First, the webhook is set (manage.py dsn_telegram):")
    call_command("dsn_telegram", set_webhook=world.site.url + WEBHOOK, stdout=_Quoted(), no_color=True)
    print()
    say("Eve logs in on the site, and follows its link 'Messages by Telegram':")
    browser = Browser(world.site.url)
    browser.submit("/login/", username="eve", password=ADMIN[1])
    page = browser.get(CONNECT)
    quote(text_of(page))
    links = re.findall(r'href="(https://t\.me/[^"]+)"', page)
    if not links:
        return ["The page to connect Telegram shows no link to the bot."]
    link = html.unescape(links[0])
    world.link_token = parse_qs(urlsplit(link).query)["start"][0]
    say(f"The link is {link.partition('=')[0]}={world.link_token[:4]}..., and only its digest is stored.")
    print()
    say("On her telephone she presses Start. The Bot API calls the webhook, and the bot answers:")
    reply = world.bot.ask("/_start", {"link": link, "chat": EVES_CHAT, "name": "Eve"})
    quote(reply)
    if CONFIRM not in reply:
        return ["The bot did not ask Eve to confirm on the site."]
    before = _chat_of_eve()
    print()
    say("The site asks her whether that was she, since a link can be stolen:")
    quote(text_of(browser.get(CONFIRM)))
    say("She says yes:")
    said = text_of(browser.submit(CONFIRM, confirm="1"))
    quote(said)
    print()
    say("That was a signal, too: telegram_connected. By the last rule above it sends her a welcome:")
    welcome = world.wait_for(lambda: [text for text in _to_eve(world) if text.startswith("Welcome")])
    for text in welcome or ():
        quote(text)
    return [
        problem
        for problem, is_so in {
            "Eve's chat was stored before she confirmed.": before != "",
            "The site does not say that Eve is connected.": "Eve (@eve)" not in said,
            "Eve's chat was not stored when she had confirmed.": _chat_of_eve() != str(EVES_CHAT),
            "Eve must get exactly one message that welcomes her.": len(welcome or ()) != 1,
        }.items()
        if is_so
    ]


def _to_eve(world: World) -> list[str]:
    return [message["text"] for message in world.bot.ask("/_messages") if message["chat"] == str(EVES_CHAT)]


def _chat_of_eve() -> str:
    from dsn_core.models import Address

    rows = Address.objects.filter(user__username="eve", messenger="telegram")
    return str(rows.values_list("address", flat=True).first() or "")


class _Quoted:
    """Where a command prints to."""

    def write(self, text: str) -> None:
        quote(text)

    def flush(self) -> None:
        pass
