"""``manage.py dsn_plugins``: lists the installed plugins, and whether they work."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandParser
from django.db import Error as DatabaseError
from django.db import transaction

from dsn_core import conf
from dsn_core.checks import running
from dsn_core.checks.configuration import runner_faults
from dsn_core.intake.record import outbox
from dsn_core.plugins import inventory
from dsn_core.plugins.errors import describe
from dsn_core.plugins.inventory import Entry, Item
from dsn_core.plugins.kinds import RUNNERS, SIGNALS, Kind
from dsn_core.plugins.registry import registry
from dsn_core.queue import held
from dsn_core.triggers.dispatch import trigger_cache

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
                self._write(self._plugin(entry))
            for problem in problems:
                self._write(_wrapped(problem, 0), style=self.style.ERROR)
            self._write(self._summary(entries, trouble=bool(problems)))
        if options["check"] and (problems or any(entry.faults or entry.unconfigured for entry in entries)):
            sys.exit(1)

    def _write(self, lines: Iterator[str], style: Any = None) -> None:
        for line in lines:
            self.stdout.write(line, style)

    def _plugin(self, entry: Entry) -> Iterator[str]:
        colour = {"active": self.style.SUCCESS, "broken": self.style.ERROR}.get(entry.state, self.style.WARNING)
        for line in _wrapped(f"{entry.name}: {entry.state}", 0):
            name, colon, state = line.partition(": ")
            yield self.style.MIGRATE_HEADING(name) + colon + colour(state)
        made_by = [entry.distribution, entry.version] if entry.distribution else []
        yield from _wrapped(", ".join(filter(None, [" ".join(filter(None, made_by)), SOURCES[entry.source]])), 2)
        if entry.faults:
            for fault in entry.faults:
                yield from map(self.style.ERROR, _wrapped(f"! {fault.message}.", 2))
                yield from _wrapped(fault.hint, 4, hanging=0)
        else:
            yield from _wrapped(entry.reason, 2)
        for kind in inventory.LISTED:
            if items := entry.items[kind.plural]:
                yield from self._section(kind, items)
        yield ""

    def _section(self, kind: Kind, items: list[Item]) -> Iterator[str]:
        title = kind.plural.replace("_", " ").capitalize()
        yield f"  {title}"
        if kind is SIGNALS:
            # A signal needs no set-up and has no status.
            for item in items:
                yield from _wrapped(f"{item.name}: {item.description or 'no description'}", 4)
            return
        in_use = conf.current().RUNNER if kind is RUNNERS else None
        for item in items:
            yield from self._item(item, in_use=item.name == in_use)

    def _item(self, item: Item, *, in_use: bool) -> Iterator[str]:
        if item.ready:
            status = "ready, in use" if in_use else "ready"
            said = f"{status} ({item.reason})" if item.reason else status
        else:
            said = f"not used itself ({item.reason})" if item.spare else item.reason
        lines = list(_wrapped(f"{item.name}: {said}", 4))
        if item.ready and not item.reason:
            name, colon, status = lines[0].partition(": ")
            # On one line with its description if both fit.
            together = f"{lines[0]}. {item.description}" if item.description else lines[0]
            fits = len(lines) == 1 and len(together) <= WIDTH
            rest = together[len(lines[0]) :] if fits else ""
            yield f"{name}{colon}{self.style.SUCCESS(status)}{rest}"
            yield from lines[1:]
            if fits:
                return
        else:
            yield from lines if item.spare else map(self.style.WARNING, lines)
        yield from _wrapped(item.description, 6, hanging=0)

    def _summary(self, entries: list[Entry], *, trouble: bool) -> Iterator[str]:
        broken = sum(bool(entry.faults) for entry in entries)
        unconfigured = sum(len(entry.unconfigured) for entry in entries)
        plugins = f"{len(entries)} plugin{'' if len(entries) == 1 else 's'}"
        text = f"{plugins}, {broken} with errors; {unconfigured} not configured."
        if not (broken or unconfigured or trouble):
            yield self.style.SUCCESS(f"{plugins}, all in order.")
            return
        yield from map(self.style.WARNING, _wrapped(f"{text} 'manage.py check --deploy' says what to do.", 0))


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
    yield from [message.msg for message in running.messages(outbox())]


def _wrapped(text: str, indent: int, hanging: int = 2) -> Iterator[str]:
    """``text`` in lines of at most :data:`WIDTH` columns; lines after the first are indented by ``hanging`` more."""
    yield from textwrap.wrap(
        text,
        WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + hanging),
        break_on_hyphens=False,
    )
