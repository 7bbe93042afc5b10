"""Indexes without the rows whose value is empty, on PostgreSQL.

There, an update of a row writes an entry into every index of the table, and a delivery is updated twice. On the other
databases an update writes only to the indexes of the changed columns, so that their indexes hold all rows.
"""

from __future__ import annotations

from typing import Any

from django.db import models


class SparseIndex(models.Index):
    """An index of one text field, for the rows where it is not empty."""

    def _get_condition_sql(self, model: type[models.Model], schema_editor: Any) -> str | None:
        return _condition(model, self.fields[-1], "<> ''", schema_editor)


class SparseUniqueConstraint(models.UniqueConstraint):
    """Fields that are unique together. Leaves out rows where the last one is NULL: these are never duplicates.

    Without Django's ``condition``, since Django makes no constraint with one on MySQL and MariaDB.
    """

    def _get_condition_sql(self, model: type[models.Model], schema_editor: Any) -> str | None:
        return _condition(model, self.fields[-1], "IS NOT NULL", schema_editor)


def _condition(model: type[models.Model], name: str, test: str, schema_editor: Any) -> str | None:
    if schema_editor.connection.vendor != "postgresql":
        return None
    column = model._meta.get_field(name).column  # type: ignore[union-attr]
    return f"{schema_editor.quote_name(column)} {test}"
