"""``manage.py dsn_purge``: deletes old finished events, or their payloads."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from dsn_core.intake.record import outbox
from dsn_core.management.base import DatabaseCommand, positive, span
from dsn_core.models import Delivery
from dsn_core.queue import purging


class Command(DatabaseCommand):
    help = "Delete old finished events with their deliveries, or only their payloads (the signals' arguments)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--older-than", type=span, metavar="SPAN", help="Delete events recorded longer ago than 30d, 12h, ..."
        )
        parser.add_argument(
            "--payloads-older-than",
            type=span,
            metavar="SPAN",
            help="Empty the payloads of events recorded longer ago than this, and keep the deliveries.",
        )
        parser.add_argument(
            "--batch-size", type=positive, default=1_000, metavar="N", help="Rows per statement, at most (1000)."
        )
        parser.add_argument("--dry-run", action="store_true", help="Only print the numbers.")

    def handle(self, *args: Any, **options: Any) -> None:
        rows, payloads = options["older_than"], options["payloads_older_than"]
        if rows is None and payloads is None:
            raise CommandError("Give --older-than 30d, --payloads-older-than 7d, or both.")
        using, size, now = outbox(), options["batch_size"], timezone.now()
        done: list[str] = []
        if rows is not None:
            total = purging.Purged()
            if options["dry_run"]:
                events = purging.finished(using, now - rows)
                total.events = events.count()
                total.deliveries = Delivery.objects.using(using).filter(event__in=events.values("pk")).count()
            else:
                for step in purging.gently(purging.purge(using, now - rows, size)):
                    total.events += step.events
                    total.deliveries += step.deliveries
            done.append(f"{total.events:,} events and {total.deliveries:,} deliveries deleted")
        if payloads is not None:
            if options["dry_run"]:
                number = purging.finished(using, now - payloads).exclude(payload="").count()
            else:
                steps = purging.gently(purging.empty_payloads(using, now - payloads, size))
                number = sum(step.payloads for step in steps)
            done.append(f"{number:,} payloads emptied")
        text = f"{', '.join(done)}."
        self.stdout.write(f"Would be: {text}" if options["dry_run"] else self.style.SUCCESS(text))
