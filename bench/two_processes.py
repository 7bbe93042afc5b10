"""Two processes, one database: an edit in the one takes effect in the other, and a timeline shows when.

``python bench/two_processes.py`` runs on a SQLite file of its own; with ``DSN_TEST_DATABASE=postgresql`` (or mariadb)
on a database of its own there. Exit status 1 unless every request that began ``DSN["REFRESH_SECONDS"]`` after an edit
followed it, and none ever followed the edit that was rolled back.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
REFRESH_SECONDS: Final = 1.0
#: Seconds between two saves of the other process.
PACE: Final = 0.05
#: Seconds for which the other process is watched beyond the interval.
BEYOND: Final = 0.5

SHOP = """
import json, sys, time
import django
django.setup()
from django.core.signals import request_finished, request_started
from dsn_core.models import Event
from tests.testapp.models import Movie

print(json.dumps({"ready": True}), flush=True)
while True:
    began = time.time()
    request_started.send(sender=None)
    before = Event.objects.count()
    Movie.objects.create(name="M")
    triggers = Event.objects.count() - before
    print(json.dumps({"at": began, "triggers": triggers}), flush=True)
    request_finished.send(sender=None)
    time.sleep(PACE)
"""


class Timeline:
    """The lines, as seconds since the beginning."""

    def __init__(self) -> None:
        self._began = time.time()

    def say(self, process: str, what: str, at: float | None = None) -> None:
        seconds = (at or time.time()) - self._began
        print(f"  {seconds:6.2f} s  {process:<8} {what}", flush=True)


class Shop:
    """The other process: it serves one request after the other, and each saves a movie."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self._process = subprocess.Popen(
            [sys.executable, "-c", SHOP.replace("PACE", str(PACE))], stdout=subprocess.PIPE, text=True
        )
        self.answer()

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("The other process ended; its error stands above.")
        found: dict[str, Any] = json.loads(line)
        return found

    def watch(self, since: float, seconds: float) -> list[tuple[float, int]]:
        """When each save began, and how many events it recorded, from ``since`` on for ``seconds``."""
        found = []
        while True:
            answer = self.answer()
            if answer["at"] > since + seconds:
                return found
            if answer["at"] > since:
                found.append((answer["at"], answer["triggers"]))

    def end(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        if self._process.stdout is not None:
            self._process.stdout.close()


def show() -> list[str]:
    """Edit, and watch; return what was not as promised."""
    from django.db import transaction

    from dsn_core.models import Trigger
    from tests.testapp.models import Movie

    timeline, problems = Timeline(), []
    shop = Shop(timeline)
    timeline.say("shop", f"process {shop._process.pid} saves a movie every {PACE * 1000:.0f} ms; no trigger")
    timeline.say("editor", f"is process {os.getpid()}")
    state: dict[str, Trigger] = {}

    def create() -> None:
        state["trigger"] = Trigger.objects.define("post_save", action_object=Movie)
        state["trigger"].subscribe()

    def edit() -> None:
        state["trigger"].target = "nowhere"
        state["trigger"].save()

    def edit_back() -> None:
        Trigger.objects.update(target="")

    def second() -> None:
        Trigger.objects.define("post_save", action_object=Movie, conditions=[("created", "is true")]).subscribe()

    def roll_back() -> None:
        with transaction.atomic():
            Trigger.objects.all().delete()
            transaction.set_rollback(True)

    def disable() -> None:
        state["trigger"].subscriptions.update(enabled=False)

    def delete() -> None:
        Trigger.objects.all().delete()

    steps: list[tuple[str, Callable[[], None], int]] = [
        ("creates a trigger with a subscription", create, 1),
        ("edits it: another target", edit, 0),
        ("edits it back, by update()", edit_back, 1),
        ("creates a second one, with a condition", second, 2),
        ("deletes both, and rolls back", roll_back, 2),
        ("switches a subscription off", disable, 1),
        ("deletes both", delete, 0),
    ]
    held = 0
    try:
        for what, step, expected in steps:
            step()
            edited = time.time()
            timeline.say("editor", what, edited)
            seen = shop.watch(edited, REFRESH_SECONDS + BEYOND)
            problems += judge(what, seen, held, expected, edited, timeline)
            held = expected
    finally:
        shop.end()
    return problems


def judge(
    what: str, seen: list[tuple[float, int]], held: int, expected: int, edited: float, timeline: Timeline
) -> list[str]:
    """Say when the other process followed; return what was not as promised."""
    strange = {number for _, number in seen} - {held, expected}
    if strange:
        return [f"{what}: the other process recorded {sorted(strange)} events"]
    if held == expected:
        timeline.say("shop", f"goes on with {events(expected)} a save: {len(seen)} saves, no change")
        return []
    first = next((at for at, number in seen if number == expected), None)
    if first is None:
        return [f"{what}: the other process did not follow"]
    timeline.say("shop", f"records {events(expected)} a save: {first - edited:.2f} s after the edit", first)
    if any(number != expected for at, number in seen if at > min(first, edited + REFRESH_SECONDS)):
        return [f"{what}: the other process followed too late, or not for good"]
    return []


def events(number: int) -> str:
    return f"{number} event" if number == 1 else f"{number} events"


def main() -> int:
    """Make the database, run, and return the exit status."""
    sys.path.insert(0, os.fspath(ROOT))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [os.fspath(ROOT), os.environ.get("PYTHONPATH")]))
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.processes.settings"
    os.environ["DSN_TEST_REFRESH_SECONDS"] = str(REFRESH_SECONDS)
    import django

    django.setup()
    from django.db import connection

    with tempfile.TemporaryDirectory(prefix="dsn-two-processes-") as folder:
        if connection.vendor == "sqlite":
            connection.settings_dict["TEST"]["NAME"] = Path(folder, "db.sqlite3")
        connection.creation.create_test_db(verbosity=0, serialize=False)
        os.environ["DSN_TEST_DATABASE_NAME"] = str(connection.settings_dict["NAME"])
        print(f"Two processes, one database ({connection.vendor}); REFRESH_SECONDS = {REFRESH_SECONDS:g}\n", flush=True)
        try:
            problems = show()
        finally:
            connection.creation.destroy_test_db(os.environ["DSN_TEST_DATABASE_NAME"], verbosity=0)
    print()
    for problem in problems:
        print(f"NOT AS PROMISED: {problem}")
    if not problems:
        print(f"Each request that began {REFRESH_SECONDS:g} s after an edit followed it.")
        print("The edit that was rolled back was never seen.")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
