"""``manage.py dsn_worker``: sends what is due."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from dsn_core.pipeline.intake import outbox
from dsn_core.pipeline.run import Progress
from dsn_core.plugins.kinds import MESSENGERS
from dsn_core.plugins.loading import describe
from dsn_core.plugins.registry import registry
from dsn_core.runners.worker import Worker


@contextlib.contextmanager
def _stopped_by_signals(worker: Worker) -> Iterator[None]:
    """Let SIGTERM and SIGINT end ``worker`` in good order. Only the main thread can; others end with their process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: worker.stop()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Command(BaseCommand):
    help = "Turn recorded events into deliveries and send what is due. Runs until it is stopped, or once."
    # A broken plugin is no reason to leave the messages of all others lying: see 'manage.py dsn_plugins'.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="Send all that is due now, and end.")
        parser.add_argument(
            "--messenger",
            action="append",
            metavar="NAME",
            help="Send by this messenger (or account) only; may be given several times.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        messengers = self._messengers(options["messenger"])
        worker = Worker(outbox(), messengers)
        with _stopped_by_signals(worker):
            if options["once"]:
                done = self._once(worker)
            else:
                self.stdout.write(
                    "Watching for work. Stop with Ctrl-C or SIGTERM: the message at hand is finished first."
                )
                self.stdout.flush()
                done = worker.watch()
        self.stdout.write(self.style.SUCCESS(f"Done: {done.events} events, {done.deliveries} deliveries."))

    @staticmethod
    def _once(worker: Worker) -> Progress:
        try:
            return worker.drain()
        except DatabaseError as error:
            raise CommandError(
                f"The database {worker.using!r} does not do what is asked: {describe(error)}. "
                "If a table or column is missing, run 'manage.py migrate' first."
            ) from error

    @staticmethod
    def _messengers(names: list[str] | None) -> set[str] | None:
        unknown = set(names or ()) - set(registry.names(MESSENGERS))
        if unknown:
            raise CommandError(
                f"No such messenger: {', '.join(sorted(unknown))}. "
                f"There are {', '.join(registry.names(MESSENGERS))}; 'manage.py dsn_plugins' shows more."
            )
        return set(names) if names else None
