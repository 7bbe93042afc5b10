"""The databases of a bench, which are created for it and removed after it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from django.db import connections


class Switch:
    """A router: everything happens in the database ``alias``, which the bench changes as it goes."""

    alias = os.environ.get("DSN_BENCH_ALIAS", "default")

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return Switch.alias

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return Switch.alias

    def allow_relation(self, obj1: Any, obj2: Any, **hints: Any) -> bool:
        return True


@contextlib.contextmanager
def made(alias: str = "default") -> Iterator[None]:
    """A fresh database behind ``alias``, migrated."""
    connection = connections[alias]
    name = str(connection.settings_dict["NAME"])
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        yield
    finally:
        connections.close_all()
        connection.creation.destroy_test_db(name, verbosity=0)


@contextlib.contextmanager
def on(alias: str) -> Iterator[None]:
    """Everything within happens in the database ``alias``."""
    held, Switch.alias = Switch.alias, alias
    try:
        yield
    finally:
        Switch.alias = held
