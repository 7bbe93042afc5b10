"""The base of commands that use our tables."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from dsn_core.plugins.errors import describe


class DatabaseCommand(BaseCommand):
    """A command that reports missing tables, or an unreachable database, in one sentence."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except Error as error:
            raise CommandError(
                f"The database cannot be used: {describe(error)}. "
                "If a table or column is missing, run 'manage.py migrate' first."
            ) from error
