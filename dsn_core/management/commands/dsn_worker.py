"""``manage.py dsn_worker``: sends what is due."""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser
from django.db import connections

from dsn_core.intake.record import outbox
from dsn_core.management.base import DatabaseCommand, refuse_unknown_messengers
from dsn_core.models import Delivery, DeliveryPage
from dsn_core.models.subscription import Priority
from dsn_core.plugins.kinds import MESSENGERS
from dsn_core.plugins.registry import registry
from dsn_core.queue.pages import count_waiting
from dsn_core.runners.driver import Done, known_messengers
from dsn_core.runners.processes import ProcessSupervisor
from dsn_core.runners.worker import Worker

logger = logging.getLogger("dsn_core.worker")

HAS_PROCESSES: Final = hasattr(os, "fork")
#: None where the system has no such signal.
RELOAD: Final = getattr(signal, "SIGHUP", None)


class Command(DatabaseCommand):
    help = "Turn recorded events into deliveries and send what is due. Runs until it is stopped, or once."

    _reloads = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="Send all that is due now, and end.")
        parser.add_argument(
            "--messenger",
            action="append",
            metavar="NAME",
            help="Send by this messenger (or account) only; may be given several times.",
        )
        parser.add_argument(
            "--processes",
            type=int,
            default=1,
            metavar="N",
            help="So many processes, started again when they die: one for each processor that it may use up. "
            "By default one, which leaves the others to the site.",
        )
        parser.add_argument(
            "--health-file",
            type=Path,
            metavar="PATH",
            help="Touched at least every two seconds while the worker can work; a supervisor looks at its age.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        refuse_unknown_messengers(options["messenger"], registry.names(MESSENGERS))
        messengers = set(options["messenger"] or ()) or None
        if (health_file := options["health_file"]) is not None:
            try:
                health_file.touch()
            except OSError as error:
                raise CommandError(f"--health-file {health_file} cannot be written: {error.strerror}.") from error
        if options["processes"] < 1 or (options["processes"] > 1 and options["once"]):
            raise CommandError("--processes is a number from 1, and --once works in one process.")
        if options["processes"] > 1:
            status = self._supervise(options["processes"], messengers, health_file)
        else:
            worker = Worker(outbox(), messengers, health_file)
            with self._heard(worker.stop):
                done = self._drain(worker) if options["once"] else self._watch(worker)
            self.stdout.write(self.style.SUCCESS(f"Done: {done.events} events, {done.deliveries} deliveries."))
            status = int(worker.is_failed)
        if self._reloads:
            self._say("Reloading.")
            # With the new code and settings, under the same process id.
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
        if status:
            raise CommandError("The worker did not end in good order; its log says why.", returncode=abs(status))

    @contextlib.contextmanager
    def _heard(self, stop: Callable[[], None]) -> Iterator[None]:
        """Let SIGTERM and SIGINT stop, and SIGHUP reload. Only the main thread can; others end with their process."""

        def handle(number: int, frame: object) -> None:
            # The last signal counts: the request to end may follow one to reload.
            self._reloads = number == RELOAD
            stop()

        before = {}
        if threading.current_thread() is threading.main_thread():
            numbers = [signal.SIGTERM, signal.SIGINT, *([RELOAD] if RELOAD else [])]
            before = {number: signal.signal(number, handle) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _watch(self, worker: Worker) -> Done:
        text = "Watching for work. Stop with Ctrl-C or SIGTERM: the message at hand is finished first."
        number = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if number > 1 and HAS_PROCESSES and connections[worker.using].vendor != "sqlite":
            text += f" One process uses one of {number} processors; --processes starts more."
        self._say(text)
        return worker.watch()

    def _supervise(self, count: int, messengers: set[str] | None, health_file: Path | None) -> int:
        if not HAS_PROCESSES:
            raise CommandError("This system cannot fork processes: start dsn_worker several times instead.")

        parent = os.getpid()

        def work() -> int:
            worker = Worker(outbox(), messengers, health_file, parent)
            with self._heard(worker.stop):
                if supervisor.is_stopping():
                    worker.stop()
                done = worker.watch()
            logger.info("Worker process %d: %d events, %d deliveries", os.getpid(), done.events, done.deliveries)
            return int(worker.is_failed)

        supervisor = ProcessSupervisor(count, work)
        with self._heard(supervisor.stop):
            self._say(f"Watching for work with {count} processes. Stop with Ctrl-C or SIGTERM.")
            return supervisor.run()

    def _drain(self, worker: Worker) -> Done:
        """Send all that is due; at a terminal, with a line that shows the number, the rate and the time left."""
        if not self.stdout.isatty():
            return worker.drain()
        begun = shown_at = time.monotonic()

        def show(done: Done) -> None:
            nonlocal shown_at
            if (now := time.monotonic()) - shown_at < 1:
                return
            shown_at, rate = now, done.deliveries / (now - begun)
            # Those that are not finished, by the indexes that claims read.
            known = known_messengers(worker.using, worker.messengers)
            rows = Delivery.objects.using(worker.using).filter(not_before__isnull=False, messenger__in=known)
            in_pages = DeliveryPage.objects.using(worker.using).filter(messenger__in=known)
            left = rows.filter(priority__in=Priority.values).count() + count_waiting(in_pages)
            time_left = f"{datetime.timedelta(seconds=round(left / rate))} left" if rate else "waiting"
            self._say(f"\r\033[K{done.deliveries:,} done, {left:,} to go, {rate:,.0f}/s, {time_left}", ending="")

        try:
            return worker.drain(show)
        finally:
            self._say("\r\033[K", ending="")

    def _say(self, text: str, ending: str = "\n") -> None:
        self.stdout.write(text, ending=ending)
        self.stdout.flush()
