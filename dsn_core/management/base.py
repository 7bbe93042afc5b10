"""What the commands share."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Iterable
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from dsn_core.contracts.spans import parse_span
from dsn_core.exceptions import ConfigurationError
from dsn_core.intake.record import outbox
from dsn_core.plugins.errors import describe

#: Rows per statement.
SIZE: Final = 1_000


class DatabaseCommand(BaseCommand):
    """A command that reports missing tables, or an unreachable database, in one sentence."""

    # A broken plugin must not keep an operator from working with the others: see 'manage.py dsn_plugins'.
    requires_system_checks = ()

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except Error as error:
            raise CommandError(
                f"The database {outbox()!r} cannot be used: {describe(error)}. "
                "If a table or column is missing, run 'manage.py migrate' first."
            ) from error


def refuse_unknown_messengers(names: Iterable[str] | None, known: Iterable[str]) -> None:
    """Raise ``CommandError`` when one of ``names`` is not ``known``."""
    if unknown := sorted(set(names or ()) - set(known)):
        raise CommandError(
            f"No such messenger: {', '.join(unknown)}. There are {', '.join(sorted(known))}; "
            "'manage.py dsn_plugins' shows more."
        )


def span(text: str) -> datetime.timedelta:
    """A span of time as an operator types it: ``90s``, ``15m``, ``2h``, ``30d``, ``4w``. For argparse's ``type``."""
    try:
        return parse_span(text)
    except ConfigurationError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def positive(text: str) -> int:
    """A whole number from 1. For argparse's ``type``."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1.")
    return int(text)
