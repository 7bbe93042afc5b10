"""``manage.py dsn_plugins``: lists the installed plugins, and whether they work."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

from django.core.management.base import BaseCommand, CommandParser
from django.db import Error as DatabaseError
from django.db import transaction

from dsn_core import conf
from dsn_core.checks import deployment
from dsn_core.checks.configuration import runner_faults
from dsn_core.intake.record import outbox
from dsn_core.plugins import inventory
from dsn_core.plugins.errors import describe
from dsn_core.plugins.inventory import Entry, Item
from dsn_core.plugins.kinds import RUNNERS, SIGNALS
from dsn_core.plugins.registry import registry
from dsn_core.queue import held
from dsn_core.triggers.dispatch import trigger_cache

Style: TypeAlias = Callable[[str], str]

#: Columns of a line, at most.
WIDTH: Final = 79
SOURCES: Final = {"builtin": "built in", "app": "app", "entry_point": "entry point"}


class Command(BaseCommand):
    help = "List the installed plugins, what each provides, and what is broken or not configured."
    # Used when a check fails, or before there is a database.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--format", choices=["text", "json"], default="text", help="json is for programs.")
        parser.add_argument(
            "--check", action="store_true", help="Exit with status 1 when something is broken or not configured."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        entries = inventory.take(registry)
        problems = [problem.message for problem in conf.problems()]
        problems += [message.msg for message in runner_faults(registry)]
        if options["check"]:
            problems += _of_tables()
        if options["format"] == "json":
            self.stdout.write(json.dumps(inventory.as_dict(entries), indent=2))
        else:
            for entry in entries:
                self._write_plugin(entry)
            for problem in problems:
                self._write(problem, style=self.style.ERROR)
            self._write_summary(entries, trouble=bool(problems))
        if options["check"] and (problems or any(entry.faults or entry.unconfigured for entry in entries)):
            sys.exit(1)

    def _write(self, text: str, indent: int = 0, hanging: int = 2, style: Style | None = None) -> None:
        """Write in lines of at most 79 columns; those after the first are indented by ``hanging`` more."""
        first, others = " " * indent, " " * (indent + hanging)
        for line in textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=others, break_on_hyphens=False):
            self.stdout.write(line, style)

    def _write_plugin(self, entry: Entry) -> None:
        colour = {"active": self.style.SUCCESS, "broken": self.style.ERROR}.get(entry.state, self.style.WARNING)
        self._write(f"{entry.name}: {entry.state}", style=colour)
        made_by = " ".join(filter(None, [entry.distribution, entry.version]))
        self._write(", ".join(filter(None, [made_by, SOURCES[entry.source]])), 2)
        for fault in entry.faults:
            self._write(f"! {fault.message}.", 2, style=self.style.ERROR)
            self._write(fault.hint, 4, hanging=0)
        if not entry.faults:
            self._write(entry.reason, 2)
        for kind in inventory.LISTED:
            if items := entry.items[kind.plural]:
                self._write(kind.plural.replace("_", " ").capitalize(), 2)
            for item in items:
                if kind is SIGNALS:
                    # A signal needs no set-up and has no status.
                    self._write(f"{item.name}: {item.description or 'no description'}", 4)
                else:
                    self._write_item(item, in_use=kind is RUNNERS and item.name == conf.current().RUNNER)
        self.stdout.write()

    def _write_item(self, item: Item, *, in_use: bool) -> None:
        if item.ready:
            status = "ready, in use" if in_use else "ready"
            status += f" ({item.reason})" if item.reason else ""
        else:
            status = f"not used itself ({item.reason})" if item.spare else item.reason
        text = f"{item.name}: {status}"
        if not item.ready or item.reason:
            self._write(text, 4, style=None if item.spare else self.style.WARNING)
        elif item.description and len(text) + len(item.description) + 6 <= WIDTH:
            self._write(f"{text}. {item.description}", 4, style=self.style.SUCCESS)
            return
        else:
            self._write(text, 4, style=self.style.SUCCESS)
        self._write(item.description, 6, hanging=0)

    def _write_summary(self, entries: list[Entry], *, trouble: bool) -> None:
        broken = sum(bool(entry.faults) for entry in entries)
        unconfigured = sum(len(entry.unconfigured) for entry in entries)
        plugins = f"{len(entries)} plugin{'' if len(entries) == 1 else 's'}"
        if broken or unconfigured or trouble:
            text = f"{plugins}, {broken} with errors; {unconfigured} not configured."
            self._write(f"{text} 'manage.py check --deploy' says what to do.", style=self.style.WARNING)
        else:
            self._write(f"{plugins}, all in order.", style=self.style.SUCCESS)


def _of_tables() -> Iterator[str]:
    """The problems that the database shows."""
    if not trigger_cache.refresh(force=True):
        # Without a problem: there are no tables yet.
        if trigger_cache.problem:
            yield f"The triggers cannot be read: {trigger_cache.problem}. If a table or column is missing, run migrate."
        return
    try:
        with transaction.atomic(using=outbox()):
            yield from list(held.problems(outbox()))
    except DatabaseError as error:
        yield f"The waiting rows cannot be read: {describe(error)}. If a table or column is missing, run migrate."
    yield from [message.msg for message in deployment.check_running()]
