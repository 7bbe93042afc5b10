"""``manage.py dsn_worker``: sends what is due."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connections

from dsn_core.intake.record import outbox
from dsn_core.models import Delivery, DeliveryPage
from dsn_core.models.subscription import Priority
from dsn_core.plugins.errors import describe
from dsn_core.plugins.kinds import MESSENGERS
from dsn_core.plugins.registry import registry
from dsn_core.queue.pages import count_waiting
from dsn_core.runners.driver import Done, known_messengers
from dsn_core.runners.processes import ProcessSupervisor
from dsn_core.runners.worker import Worker

logger = logging.getLogger("dsn_core.worker")

HAS_PROCESSES = hasattr(os, "fork")


@contextlib.contextmanager
def _heard(stop: Callable[[], None], reload: Callable[[], None]) -> Iterator[None]:
    """Let SIGTERM and SIGINT stop, and SIGHUP reload. Only the main thread can; others end with their process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    wanted = {signal.SIGTERM: stop, signal.SIGINT: stop}
    if hasattr(signal, "SIGHUP"):
        wanted[signal.SIGHUP] = reload
    before = {number: signal.signal(number, _handler(what)) for number, what in wanted.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _unused_processors(using: str) -> str:
    """A sentence about the processors that one process does not use; empty where more would not help."""
    number = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if number == 1 or not HAS_PROCESSES or connections[using].vendor == "sqlite":
        return ""
    return f" One process uses one of {number} processors; --processes starts more."


def _handler(what: Callable[[], None]) -> Callable[..., None]:
    return lambda *args: what()


class Command(BaseCommand):
    help = "Turn recorded events into deliveries and send what is due. Runs until it is stopped, or once."
    # A broken plugin is no reason to leave the messages of all others lying: see 'manage.py dsn_plugins'.
    requires_system_checks = ()

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
        messengers = self._messengers(options["messenger"])
        health_file = self._health_file(options["health_file"])
        if options["processes"] < 1 or (options["processes"] > 1 and options["once"]):
            raise CommandError("--processes is a number from 1, and --once works in one process.")
        if options["processes"] > 1:
            status = self._supervise(options["processes"], messengers, health_file)
        else:
            worker = Worker(outbox(), messengers, health_file)
            with _heard(lambda: self._end(worker.stop), lambda: self._reload(worker.stop)):
                if options["once"]:
                    done = self._once(worker)
                else:
                    self._say(
                        "Watching for work. Stop with Ctrl-C or SIGTERM: the message at hand is finished first."
                        + _unused_processors(worker.using)
                    )
                    done = worker.watch()
            self.stdout.write(self.style.SUCCESS(f"Done: {done.events} events, {done.deliveries} deliveries."))
            status = int(worker.is_failed)
        if self._reloads:
            self._say("Reloading.")
            # With the new code and settings, under the same process id.
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
        if status:
            raise CommandError("The worker did not end in good order; its log says why.", returncode=abs(status))

    def _supervise(self, count: int, messengers: set[str] | None, health_file: Path | None) -> int:
        if not HAS_PROCESSES:
            raise CommandError("This system cannot fork processes: start dsn_worker several times instead.")

        parent = os.getpid()

        def work() -> int:
            worker = Worker(outbox(), messengers, health_file, parent)
            with _heard(worker.stop, worker.stop):
                if supervisor.is_stopping():
                    worker.stop()
                done = worker.watch()
            logger.info("Worker process %d: %d events, %d deliveries", os.getpid(), done.events, done.deliveries)
            return int(worker.is_failed)

        supervisor = ProcessSupervisor(count, work)
        with _heard(lambda: self._end(supervisor.stop), lambda: self._reload(supervisor.stop)):
            self._say(f"Watching for work with {count} processes. Stop with Ctrl-C or SIGTERM.")
            return supervisor.run()

    def _end(self, stop: Callable[[], None]) -> None:
        # The last word counts: who asked for a reload before may be asked to end now.
        self._reloads = False
        stop()

    def _reload(self, stop: Callable[[], None]) -> None:
        self._reloads = True
        stop()

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()

    def _once(self, worker: Worker) -> Done:
        try:
            if not self.stdout.isatty():
                return worker.drain()
            line = ProgressLine(worker, self.stdout)
            try:
                return worker.drain(line.show)
            finally:
                line.clear()
        except DatabaseError as error:
            raise CommandError(
                f"The database {worker.using!r} does not do what is asked: {describe(error)}. "
                "If a table or column is missing, run 'manage.py migrate' first."
            ) from error

    @staticmethod
    def _health_file(path: Path | None) -> Path | None:
        if path is not None:
            try:
                path.touch()
            except OSError as error:
                raise CommandError(f"--health-file {path} cannot be written: {error.strerror}.") from error
        return path

    @staticmethod
    def _messengers(names: list[str] | None) -> set[str] | None:
        unknown = set(names or ()) - set(registry.names(MESSENGERS))
        if unknown:
            raise CommandError(
                f"No such messenger: {', '.join(sorted(unknown))}. "
                f"There are {', '.join(registry.names(MESSENGERS))}; 'manage.py dsn_plugins' shows more."
            )
        return set(names) if names else None


class ProgressLine:
    """One line of a terminal, written over and over: what is done, how fast, how long it will take."""

    def __init__(self, worker: Worker, out: Any) -> None:
        self._worker = worker
        self._out = out
        self._begun = time.monotonic()
        self._shown_at = self._begun

    def show(self, done: Done) -> None:
        """Write it, at most once a second."""
        now = time.monotonic()
        if now - self._shown_at < 1:
            return
        self._shown_at = now
        rate = done.deliveries / (now - self._begun)
        left = self._left()
        time_left = f"{_clock(left / rate)} left" if rate else "waiting"
        self._write(f"{done.deliveries:,} done, {left:,} to go, {rate:,.0f}/s, {time_left}")

    def clear(self) -> None:
        self._write("")

    def _left(self) -> int:
        """Deliveries that are not finished, by the indexes that claims read."""
        rows = Delivery.objects.using(self._worker.using).filter(not_before__isnull=False)
        known = known_messengers(self._worker.using, self._worker.messengers)
        in_pages = count_waiting(DeliveryPage.objects.using(self._worker.using).filter(messenger__in=known))
        return rows.filter(messenger__in=known, priority__in=Priority.values).count() + in_pages

    def _write(self, text: str) -> None:
        self._out.write(f"\r\033[K{text}", ending="")
        self._out.flush()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
