"""``manage.py dsn_adopt``: says that this database is meant to send from this environment."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from dsn_core import conf
from dsn_core.intake.record import outbox
from dsn_core.intake.storing import wake
from dsn_core.management.database import DatabaseCommand
from dsn_core.models import Delivery, Event
from dsn_core.queue import environment, purging

#: Rows of one statement.
SIZE = 1_000


class Command(DatabaseCommand):
    help = "Let this database belong to the environment of DSN['ENVIRONMENT']: what waits in it is then sent from here."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--purge-waiting",
            action="store_true",
            help="Delete what waits to be sent, which is the other environment's, before anything else.",
        )
        parser.add_argument(
            "--no-input", "--noinput", action="store_false", dest="interactive", help="Do not ask whether it is meant."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        using, setting = outbox(), conf.current().ENVIRONMENT
        if why := conf.misfit("ENVIRONMENT"):
            # It must not be taken for one that is not set.
            raise CommandError(f"DSN['ENVIRONMENT'] {why}.")
        remembered = environment.remembered_in(using)
        if not setting and not remembered:
            raise CommandError("There is no environment to adopt it for: set DSN['ENVIRONMENT'], to 'production' say.")
        if setting == remembered:
            if options["purge_waiting"]:
                raise CommandError(
                    f"The database {using!r} belongs to the environment {setting!r} already, and what waits in it is "
                    "its own: nothing was purged. 'Delivery.objects.cancel()' and the admin cancel what waits."
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
        # Whoever was told that nothing may be sent does not look by itself.
        wake(using)
        belongs = f"belongs to the environment {setting!r} now" if setting else "belongs to no environment any more"
        self.stdout.write(self.style.SUCCESS(f"The database {using!r} {belongs}."))

    def _ask(self, using: str, setting: str, remembered: str | None, *, purge: bool) -> None:
        events = Event.objects.using(using).filter(not_before__isnull=False).count()
        deliveries = Delivery.objects.using(using).unfinished().count()
        was = f"belongs to the environment {remembered!r}" if remembered else "belongs to no environment yet"
        here = f"DSN['ENVIRONMENT'] is {setting!r}" if setting else "DSN['ENVIRONMENT'] is not set"
        fate = "be deleted, unsent" if purge else "be sent from here, to whom they are addressed"
        self.stdout.write(f"The database {using!r} {was}, and {here}.")
        self.stdout.write(f"{events:,} events and {deliveries:,} deliveries wait in it. They will {fate}.")
        try:
            answer = input("Is that meant? Type 'yes' to go on: ")
        except EOFError:
            answer = ""
        if answer.strip().lower() != "yes":
            raise CommandError("Nothing was changed. Without a terminal, give --no-input.")
