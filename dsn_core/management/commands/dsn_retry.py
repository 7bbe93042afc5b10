"""``manage.py dsn_retry``: sends deliveries again that were not sent."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db.models import Count
from django.utils import timezone

from dsn_core.fanout.receivers import pages_of_keys
from dsn_core.intake.record import outbox
from dsn_core.intake.storing import wake
from dsn_core.management.base import SIZE, DatabaseCommand, refuse_unknown_messengers, span
from dsn_core.models import Delivery, Event, MessengerState
from dsn_core.models.delivery import RETRIABLE, DeliveryQuerySet
from dsn_core.models.event import EventQuerySet
from dsn_core.plugins.kinds import MESSENGERS
from dsn_core.plugins.registry import registry


class Command(DatabaseCommand):
    help = "Send deliveries again that ended without being sent, now and with a full number of attempts."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--status",
            action="append",
            choices=sorted(map(str, RETRIABLE)),
            help="Only those with this status; may be given several times. Default: failed.",
        )
        parser.add_argument("--messenger", action="append", metavar="NAME", help="Only this messenger or account.")
        parser.add_argument("--event", action="append", type=int, metavar="ID", help="Only those of this event.")
        parser.add_argument("--since", type=span, metavar="SPAN", help="Only those that ended in the last 2h, 3d, ...")
        parser.add_argument(
            "--events", action="store_true", help="Expand failed events again, instead of sending deliveries."
        )
        parser.add_argument("--dry-run", action="store_true", help="Only print the numbers.")
        parser.add_argument(
            *("--no-input", "--noinput"),
            action="store_false",
            dest="interactive",
            help="Do not ask for confirmation. Without a terminal it is never asked for.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        using = outbox()
        found, what = self._found(using, options), "events" if options["events"] else "deliveries"
        retriable, purged = found.retriable(), found.purged().count()
        number = retriable.count()
        if isinstance(retriable, DeliveryQuerySet):
            counted = retriable.order_by("messenger", "status").values_list("messenger", "status")
            for messenger, status, count in counted.annotate(number=Count("pk")):
                self.stdout.write(f"{messenger:<30} {status:<10} {count:>12,}")
        if purged:
            refused = (
                f"{purged:,} {what} are refused: their payloads were purged ('manage.py dsn_purge'), and nothing is "
                "left to send."
            )
            if not number:
                raise CommandError(refused)
            self.stdout.write(self.style.WARNING(refused))
        if options["dry_run"]:
            self.stdout.write(f"Would be: {number:,} {what}.")
            return
        asks = number and options["interactive"] and sys.stdin.isatty()
        if asks and input(f"Try {number:,} {what} again? [y/N] ").strip().lower() not in ("y", "yes"):
            self.stdout.write("Nothing was changed.")
            return
        rows = found.model._default_manager.using(using)
        number = sum(rows.filter(pk__in=keys).retry() for keys in pages_of_keys(found, SIZE))
        if number:
            wake(using)
        self.stdout.write(self.style.SUCCESS(f"{number:,} {what} are tried again."))

    @staticmethod
    def _found(using: str, options: dict[str, Any]) -> DeliveryQuerySet | EventQuerySet:
        found: DeliveryQuerySet | EventQuerySet
        if options["events"]:
            if options["status"] or options["messenger"]:
                raise CommandError(
                    "--events can be combined with --event and --since only: it is for failed events of any messenger."
                )
            found = Event.objects.using(using).filter(status=Event.Status.FAILED)
            event, ended_at = "pk", "created_at"
        else:
            found = Delivery.objects.using(using).filter(status__in=options["status"] or [Delivery.Status.FAILED])
            if options["messenger"]:
                stored = MessengerState.objects.using(using).values_list("messenger", flat=True)
                refuse_unknown_messengers(options["messenger"], {*stored, *registry.names(MESSENGERS)})
                found = found.filter(messenger__in=options["messenger"])
            event, ended_at = "event", "finished_at"
        if options["event"]:
            found = found.filter(**{f"{event}__in": options["event"]})
        if options["since"] is not None:
            found = found.filter(**{f"{ended_at}__gte": timezone.now() - options["since"]})
        return found
