"""Transactions that are rolled back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from django.db import transaction


class Undo(Exception):
    """Rolls back the block around it."""


@contextlib.contextmanager
def undone(using: str | None = None) -> Iterator[None]:
    """A transaction, or a savepoint, that is rolled back."""
    with contextlib.suppress(Undo), transaction.atomic(using=using):
        yield
        raise Undo
