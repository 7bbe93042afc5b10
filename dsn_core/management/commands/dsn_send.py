"""``manage.py dsn_send``: sends one test message, and prints its receipt."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from dsn_core.contracts.messages import Message
from dsn_core.contracts.receipts import Outcome, Receipt
from dsn_core.exceptions import DSNError
from dsn_core.plugins.registry import registry
from dsn_core.sending import only_to
from dsn_core.sending.handing_over import collect
from dsn_core.sending.sender import way_of


class Command(BaseCommand):
    help = "Send one test message by a messenger (or account) to an address, and print the receipt."
    # A broken plugin must not keep others from being tried.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "messenger", help="A messenger's name, or an account's: 'manage.py dsn_plugins' lists them."
        )
        parser.add_argument("address", help="The address, in the messenger's form.")
        parser.add_argument("text", help="The text of the message.")
        parser.add_argument("--subject", default="", help="The subject, for messengers that have one.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            messenger = registry.messenger(options["messenger"])
        except DSNError as error:
            raise CommandError(str(error)) from error
        if not way_of(type(messenger)).takes_messages:
            raise CommandError(
                f"{messenger.alias!r} renders and chooses its receivers itself; it cannot send to a given address."
            )
        if not only_to.is_listed(options["address"]):
            raise CommandError(
                "DSN['ONLY_TO'] does not allow this address. Add a pattern that it matches, or use another environment."
            )
        message = Message(
            options["text"],
            subject=options["subject"],
            address=options["address"],
            id=f"test-{uuid.uuid4().hex}",
            messenger=messenger.alias,
        )
        receipts: dict[str, Receipt] = {}
        raised = collect(messenger, [message], lambda: True, receipts)
        receipt = receipts.get(message.id)
        if receipt is None:
            why = raised.said or "the messenger returned no receipt for the message."
            raise CommandError(f"Not sent: {why}") from raised.error
        parts = [receipt.outcome.value.replace("_", " ")]
        if receipt.provider_id:
            parts.append(f"provider's id {receipt.provider_id}")
        if receipt.after is not None:
            parts.append(f"again after {receipt.after:g} s")
        said = ", ".join(parts) + (f": {receipt.reason}" if receipt.reason else "")
        if receipt.outcome is not Outcome.SENT:
            raise CommandError(said)
        self.stdout.write(self.style.SUCCESS(said))
