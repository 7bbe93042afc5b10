"""``manage.py dsn_telegram_poll``: fetches updates, for sites that Telegram cannot reach."""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import close_old_connections

from dsn_core.exceptions import ProviderError
from dsn_telegram import updates
from dsn_telegram.bot import Answer, Bot
from dsn_telegram.management.commands.dsn_telegram import usable_options
from dsn_telegram.options import NAME

logger = logging.getLogger("dsn_telegram")

#: Seconds for which Telegram holds a call until there is an update.
_LONG_POLL: Final = 25
#: Seconds to wait after trouble: the first time, and at most.
_FIRST_WAIT: Final = 1.0
_LONGEST_WAIT: Final = 60.0


class Command(BaseCommand):
    help = "Fetch the bot's updates and act on them, as the webhook does. Runs until it is stopped, or once."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--messenger", default=NAME, metavar="NAME", help="An account's name; 'telegram' if none.")
        parser.add_argument("--once", action="store_true", help="Act on what waits now, and end.")

    def handle(self, *args: Any, **given: Any) -> None:
        messenger = given["messenger"]
        bot = Bot(usable_options(messenger))
        if given["once"]:
            self.stdout.write(self.style.SUCCESS(f"Done: {self._once(bot, messenger)} updates."))
            return
        self.stdout.write("Waiting for updates. Stop with Ctrl-C.")
        self.stdout.flush()
        try:
            self._watch(bot, messenger)
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")

    def _once(self, bot: Bot, messenger: str) -> int:
        count, offset = 0, 0
        while True:
            found = _fetched(_answer(bot, offset, 0))
            # Asking for what comes after them tells Telegram that these are done.
            if not found:
                return count
            offset = self._act(bot, messenger, found)
            count += len(found)

    def _watch(self, bot: Bot, messenger: str) -> None:
        offset, wait = 0, _FIRST_WAIT
        while True:
            try:
                close_old_connections()
                offset = self._act(bot, messenger, _fetched(_answer(bot, offset, _LONG_POLL))) or offset
                wait = _FIRST_WAIT
            except CommandError:
                raise
            except Exception as error:
                # The network, the Bot API or the database is away: what waits there waits on.
                logger.warning("No updates for %g s: %s", wait, error)
                time.sleep(wait)
                wait = min(wait * 2, _LONGEST_WAIT)

    @staticmethod
    def _act(bot: Bot, messenger: str, found: list[dict[str, Any]]) -> int:
        """Act on updates; return the number that the next one has."""
        offset = 0
        for update in found:
            reply = updates.reply_to(update, messenger)
            offset = int(update["update_id"]) + 1
            if reply is None:
                continue
            method = reply.pop("method")
            try:
                bot.call(method, reply)
            except ProviderError as error:
                # What the user asked for is done; only the word about it is lost.
                logger.warning("A reply was not sent: %s", error)
        return offset


def _answer(bot: Bot, offset: int, hold: int) -> Answer:
    params = {"offset": offset or None, "timeout": hold, "allowed_updates": list(updates.ALLOWED)}
    return bot.call("getUpdates", params, timeout=hold + 10)


def _fetched(answer: Answer) -> list[dict[str, Any]]:
    if answer.status == 409:
        raise CommandError(
            f"Telegram does not let us poll: {answer.description}. If a webhook is set, remove it with "
            "'manage.py dsn_telegram --remove-webhook'; if another process polls, end one of them."
        )
    if answer.status in (401, 404):
        raise CommandError(f"The Bot API refuses the token ({answer.status}): see BOT_TOKEN and API_BASE.")
    if not answer.ok or not isinstance(answer.result, list):
        raise ConnectionError(f"getUpdates failed: {answer.status} {answer.description}".rstrip())
    return [update for update in answer.result if isinstance(update, dict) and isinstance(update.get("update_id"), int)]
