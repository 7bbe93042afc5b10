"""Commands whose tables are missing, or whose database is away."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import ProgrammingError, connection


def refuse(execute: Any, sql: str, *rest: Any) -> Any:
    raise ProgrammingError("no such table: dsn_core_delivery")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "command", [["dsn_retry"], ["dsn_purge", "--older-than", "30d"], ["dsn_adopt", "--no-input"]], ids=lambda it: it[0]
)
def test_what_is_missing_is_said_in_a_sentence(command: list[str], settings: Any) -> None:
    settings.DSN = {"ENVIRONMENT": "production"}
    with connection.execute_wrapper(refuse), pytest.raises(CommandError, match=r"no such table.*manage\.py migrate"):
        call_command(*command)
