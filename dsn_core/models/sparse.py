"""Indexes without the rows whose value is empty, on PostgreSQL.

PostgreSQL writes an entry into every index of a table whenever an indexed column of a row changes. On other databases
a change touches only the indexes of what changed, so that most of theirs hold all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import models


class SparseIndex(models.Index):
    """An index of one text field, for the rows where it is not empty."""

    def _get_condition_sql(self, model: type[models.Model], schema_editor: Any) -> str | None:
        return _condition(model, self.fields[-1], "<> ''", schema_editor)


class DueIndex(models.Index):
    """The index that claims read, without the rows whose ``not_before`` is NULL: finished ones, and those of pages.

    On SQLite, too: most deliveries are never in it, and are inserted without an entry.
    """

    def _get_condition_sql(self, model: type[models.Model], schema_editor: Any) -> str | None:
        return _condition(model, "not_before", "IS NOT NULL", schema_editor, ("postgresql", "sqlite"))


class SparseUniqueConstraint(models.UniqueConstraint):
    """Fields that are unique together. Leaves out rows where the last one is NULL: these are never duplicates.

    Without Django's ``condition``, since Django makes no constraint with one on MySQL and MariaDB.
    """

    def _get_condition_sql(self, model: type[models.Model], schema_editor: Any) -> str | None:
        return _condition(model, self.fields[-1], "IS NOT NULL", schema_editor)


def _condition(
    model: type[models.Model], name: str, test: str, schema_editor: Any, vendors: Sequence[str] = ("postgresql",)
) -> str | None:
    if schema_editor.connection.vendor not in vendors:
        return None
    column = model._meta.get_field(name).column  # type: ignore[union-attr]
    return f"{schema_editor.quote_name(column)} {test}"
