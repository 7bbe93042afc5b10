"""``manage.py dsn_adopt``: assigns this database to this environment, so that messages are sent from here."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from dsn_core import conf
from dsn_core.intake.record import outbox
from dsn_core.intake.storing import wake
from dsn_core.management.base import SIZE, DatabaseCommand
from dsn_core.models import Delivery, Event
from dsn_core.queue import environment, purging


class Command(DatabaseCommand):
    help = "Assign this database to the environment DSN['ENVIRONMENT']: its waiting messages are then sent from here."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--purge-waiting",
            action="store_true",
            help="First delete the events and deliveries that wait, which belong to the other environment.",
        )
        parser.add_argument(
            "--no-input", "--noinput", action="store_false", dest="interactive", help="Do not ask for confirmation."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        using, setting = outbox(), conf.current().ENVIRONMENT
        if why := conf.misfit("ENVIRONMENT"):
            # An unusable setting must not count as one that is not set.
            raise CommandError(f"DSN['ENVIRONMENT'] {why}.")
        remembered = environment.remembered_in(using)
        if not setting and not remembered:
            raise CommandError("There is no environment to assign it to: set DSN['ENVIRONMENT'], e.g. to 'production'.")
        if setting == remembered:
            if options["purge_waiting"]:
                raise CommandError(
                    f"The database {using!r} belongs to the environment {setting!r} already, and so do its waiting "
                    "deliveries: nothing was purged. 'Delivery.objects.cancel()' and the admin can cancel them."
                )
            self.stdout.write(f"The database {using!r} belongs to the environment {setting!r} already.")
            return
        if options["interactive"]:
            self._ask(using, setting, remembered, purge=options["purge_waiting"])
        if options["purge_waiting"]:
            done = purging.Purged()
            for step in purging.purge_waiting(using, SIZE):
                done.events += step.events
                done.deliveries += step.deliveries
            self.stdout.write(f"Purged: {done.events:,} events and {done.deliveries:,} deliveries that waited.")
        environment.remember(setting, using)
        # Runners that found that nothing may be sent do not look again by themselves.
        wake(using)
        belongs = f"belongs to the environment {setting!r} now" if setting else "belongs to no environment any more"
        self.stdout.write(self.style.SUCCESS(f"The database {using!r} {belongs}."))

    def _ask(self, using: str, setting: str, remembered: str | None, *, purge: bool) -> None:
        events = Event.objects.using(using).filter(not_before__isnull=False).count()
        deliveries = Delivery.objects.using(using).unfinished().count()
        was = f"belongs to the environment {remembered!r}" if remembered else "belongs to no environment yet"
        here = f"DSN['ENVIRONMENT'] is {setting!r}" if setting else "DSN['ENVIRONMENT'] is not set"
        fate = "be deleted, unsent" if purge else "be sent from here, to their receivers"
        self.stdout.write(f"The database {using!r} {was}, and {here}.")
        self.stdout.write(f"{events:,} events and {deliveries:,} deliveries wait in it. They will {fate}.")
        try:
            answer = input("Is that intended? Type 'yes' to continue: ")
        except EOFError:
            answer = ""
        if answer.strip().lower() != "yes":
            raise CommandError("Nothing was changed. Without a terminal, give --no-input.")
