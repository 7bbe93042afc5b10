"""For the tests' side: the environment of the processes, what was sent, and processes that end with the test."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from django.db import connection

from dsn_core.models import Delivery, Event, Trigger
from tests.testapp.models import Movie


class Book:
    """What the messenger ``ledger`` wrote, by whichever process."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self) -> list[tuple[int, str]]:
        """The process and the message's id of each line."""
        if not self.path.exists():
            return []
        pairs = [line.split() for line in self.path.read_text().splitlines()]
        return [(int(pid), message) for pid, message in pairs]

    def processes(self) -> set[int]:
        return {pid for pid, _ in self.lines()}

    def lost(self) -> int:
        """How many deliveries were never sent."""
        sent = {message for _, message in self.lines()}
        return sum(1 for delivery in Delivery.objects.only("occurrence") if delivery.message_id not in sent)

    def doubled(self) -> int:
        """How many lines too many there are."""
        return sum(times - 1 for times in Counter(message for _, message in self.lines()).values())

    def report(self, what: str, *, kills: int = 0) -> None:
        """Print the figures of a test."""
        print(  # noqa: T201 - what the test is for
            f"\n[{what}, {connection.vendor}] kills {kills}, deliveries {Delivery.objects.count()}, "
            f"lost {self.lost()}, doubled {self.doubled()}"
        )


def environment(base: Mapping[str, str], book: Book, *, seconds: float = 0, **dsn: Any) -> dict[str, str]:
    """For a process that sends by the ledger, each message taking ``seconds``.

    It has no plugins but those that ``PLUGINS`` names: each process would import their libraries.
    """
    return {
        **base,
        "DJANGO_SETTINGS_MODULE": "tests.ledger.settings",
        "DSN_TEST_LEDGER": os.fspath(book.path),
        "DSN_TEST_LEDGER_SECONDS": str(seconds),
        "DSN_TEST_LEDGER_DSN": json.dumps({"PLUGINS": [], **dsn}),
        "PYTHONUNBUFFERED": "1",
    }


def subscribe(addresses: int) -> None:
    """From now on a new movie makes that many deliveries by the ledger."""
    trigger = Trigger.objects.define("post_save", action_object=Movie)
    trigger.subscribe(
        addresses=[("ledger", f"a{number}") for number in range(addresses)], backends=[("ledger", "simple")]
    )


def all_done(deliveries: int) -> bool:
    """Whether all events are expanded and all of the ``deliveries`` are sent."""
    return (
        not Event.objects.filter(not_before__isnull=False).exists()
        and Delivery.objects.filter(status="sent").count() == deliveries
    )


@contextlib.contextmanager
def process(command: Sequence[str], env: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process with its children in a group of their own, which ends with the block. What it says goes to ``log``."""
    with log.open("ab") as file:
        started = subprocess.Popen(
            command, env=dict(env), stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGTERM)
        try:
            started.wait(15)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
            started.wait(15)
