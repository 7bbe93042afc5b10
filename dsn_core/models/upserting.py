"""Inserting rows, or changing those that are there, by one statement on every database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connections, models


def upsert(
    rows: models.QuerySet[Any], made: Sequence[models.Model], *, key: Sequence[str], changed: Sequence[str]
) -> None:
    """Insert ``made``; where their ``key`` is there already, set the fields ``changed`` of that row."""
    # MySQL and MariaDB are not told which key it is.
    has_target = connections[rows.db].features.supports_update_conflicts_with_target
    rows.bulk_create(
        made, update_conflicts=True, unique_fields=list(key) if has_target else None, update_fields=list(changed)
    )
