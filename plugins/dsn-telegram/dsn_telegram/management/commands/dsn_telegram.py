"""``manage.py dsn_telegram``: whether the bot answers, and its webhook."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from dsn_core.exceptions import ConfigurationError, ProviderError
from dsn_telegram.bot import Answer, Bot
from dsn_telegram.options import NAME, TelegramOptions, options_of
from dsn_telegram.updates import ALLOWED


class Command(BaseCommand):
    help = "Tell whether the bot answers, its name, and where its updates go; set or remove its webhook."
    # What is wrong elsewhere is no reason not to ask the bot.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--messenger", default=NAME, metavar="NAME", help="An account's name; 'telegram' if none.")
        webhook = parser.add_mutually_exclusive_group()
        webhook.add_argument(
            "--set-webhook",
            metavar="URL",
            help="Have updates sent to this address of the site: https://example.org/telegram/telegram/webhook/",
        )
        webhook.add_argument("--remove-webhook", action="store_true", help="Have no updates sent; they can be polled.")

    def handle(self, *args: Any, **given: Any) -> None:
        options = usable_options(given["messenger"])
        bot = Bot(options)
        me = asked(bot, "getMe").result
        if not isinstance(me, dict):
            raise CommandError("What answers at API_BASE does not speak like the Bot API.")
        self.stdout.write(
            self.style.SUCCESS(f"The bot answers: {me.get('first_name', '')} (@{me.get('username', '')})")
        )
        if given["set_webhook"]:
            self._set_webhook(bot, options, given["set_webhook"])
        elif given["remove_webhook"]:
            asked(bot, "deleteWebhook")
            self.stdout.write("The webhook is removed.")
        self._tell_webhook(asked(bot, "getWebhookInfo").result)

    def _set_webhook(self, bot: Bot, options: TelegramOptions, url: str) -> None:
        if not options.WEBHOOK_SECRET:
            raise CommandError(
                "WEBHOOK_SECRET is not set, and without it the webhook refuses every call. Set it to what "
                "secrets.token_urlsafe() makes."
            )
        asked(
            bot,
            "setWebhook",
            {"url": url, "secret_token": options.WEBHOOK_SECRET, "allowed_updates": list(ALLOWED)},
        )
        self.stdout.write("The webhook is set.")

    def _tell_webhook(self, info: Any) -> None:
        info = info if isinstance(info, dict) else {}
        if not info.get("url"):
            self.stdout.write("Webhook: none. Updates come by 'manage.py dsn_telegram_poll'.")
        else:
            self.stdout.write(f"Webhook: {info['url']}")
        self.stdout.write(f"Updates that wait: {info.get('pending_update_count', 0)}")
        if info.get("last_error_message"):
            self.stdout.write(self.style.WARNING(f"Telegram's last trouble with it: {info['last_error_message']}"))


def usable_options(messenger: str) -> TelegramOptions:
    """The options of an account, or the error of a command."""
    try:
        return options_of(messenger)
    except ConfigurationError as error:
        raise CommandError(str(error)) from None


def asked(bot: Bot, method: str, params: dict[str, Any] | None = None, timeout: float | None = None) -> Answer:
    """The answer to a call that must succeed, or the error of a command."""
    try:
        answer = bot.call(method, params, timeout=timeout)
    except ProviderError as error:
        raise CommandError(f"The bot does not answer. {error}") from None
    if answer.status in (401, 404):
        raise CommandError(f"The Bot API refuses the token ({answer.status}): see BOT_TOKEN and API_BASE.")
    if not answer.ok:
        raise CommandError(f"{method} failed: {answer.status} {answer.description}".rstrip())
    return answer
