"""``manage.py dsn_retry``: sends deliveries again that were not sent."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db.models import Count, QuerySet
from django.utils import timezone

from dsn_core.intake.record import outbox
from dsn_core.intake.storing import wake
from dsn_core.management.arguments import span
from dsn_core.management.database import DatabaseCommand
from dsn_core.models import Delivery, Event, MessengerState
from dsn_core.models.delivery import RETRIABLE, DeliveryQuerySet
from dsn_core.models.event import EventQuerySet
from dsn_core.plugins.kinds import MESSENGERS
from dsn_core.plugins.registry import registry

#: Rows per statement.
SIZE = 1_000


class Command(DatabaseCommand):
    help = "Send deliveries again that ended without being sent, now and with a full number of attempts."
    requires_system_checks = ()

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
        found: DeliveryQuerySet | EventQuerySet
        if options["events"]:
            if options["status"] or options["messenger"]:
                raise CommandError(
                    "--events can be combined with --event and --since only: it is for failed events of any messenger."
                )
            found, what = self._events(using, options), "events"
        else:
            found, what = self._deliveries(using, options), "deliveries"
        number, purged = found.retriable().count(), found.purged().count()
        if isinstance(found, DeliveryQuerySet):
            self._list(found.retriable())
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
        if number and options["interactive"] and sys.stdin.isatty() and not self._is_meant(number, what):
            self.stdout.write("Nothing was changed.")
            return
        number = sum(found.model._default_manager.using(using).filter(pk__in=keys).retry() for keys in _pages(found))
        if number:
            wake(using)
        self.stdout.write(self.style.SUCCESS(f"{number:,} {what} are tried again."))

    def _list(self, found: DeliveryQuerySet) -> None:
        """Print the numbers by messenger and status."""
        numbers = found.order_by("messenger", "status").values_list("messenger", "status").annotate(number=Count("pk"))
        for messenger, status, number in numbers:
            self.stdout.write(f"{messenger:<30} {status:<10} {number:>12,}")

    @staticmethod
    def _is_meant(number: int, what: str) -> bool:
        return input(f"Try {number:,} {what} again? [y/N] ").strip().lower() in ("y", "yes")

    @staticmethod
    def _deliveries(using: str, options: dict[str, Any]) -> DeliveryQuerySet:
        found = Delivery.objects.using(using).filter(status__in=options["status"] or [Delivery.Status.FAILED])
        if options["messenger"]:
            known = {
                *MessengerState.objects.using(using).values_list("messenger", flat=True),
                *registry.names(MESSENGERS),
            }
            if unknown := sorted(set(options["messenger"]) - known):
                raise CommandError(f"No such messenger: {', '.join(unknown)}. There are {', '.join(sorted(known))}.")
            found = found.filter(messenger__in=options["messenger"])
        if options["event"]:
            found = found.filter(event__in=options["event"])
        if options["since"] is not None:
            found = found.filter(finished_at__gte=timezone.now() - options["since"])
        return found

    @staticmethod
    def _events(using: str, options: dict[str, Any]) -> EventQuerySet:
        found = Event.objects.using(using).filter(status=Event.Status.FAILED)
        if options["event"]:
            found = found.filter(pk__in=options["event"])
        if options["since"] is not None:
            found = found.filter(created_at__gte=timezone.now() - options["since"])
        return found


def _pages(rows: QuerySet[Any]) -> Any:
    """The keys of ``rows``, page by page. The rows of a page are changed before the next."""
    last = 0
    while keys := list(rows.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:SIZE]):
        yield keys
        last = keys[-1]
