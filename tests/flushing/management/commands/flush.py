"""``flush`` for hundreds of tests: Django's own makes all content types and permissions again each time.

Those cost ten times as much as all else. While they are as Django's own left them, they stay, only tables that have
rows are emptied, and post_migrate is sent for dsn_core alone, which hears by it that its triggers are gone.
"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.management.commands import flush
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.signals import post_migrate

#: What stays, and the columns that tell whether it is as it was.
KEPT = {
    "django_content_type": "id, app_label, model",
    "auth_permission": "id, content_type_id, codename, name",
}
#: The rows of KEPT after Django's own flush, by the name of the database.
_left: dict[str, list[list[Any]]] = {}


class Command(flush.Command):
    def handle(self, **options: Any) -> None:
        connection = connections[options["database"]]
        name = str(connection.settings_dict["NAME"])
        is_quick = not options["interactive"] and not options.get("inhibit_post_migrate")
        if not is_quick or _left.get(name) != _kept_rows(connection):
            super().handle(**options)
            _left[name] = _kept_rows(connection)
            return
        _empty(connection)
        core = apps.get_app_config("dsn_core")
        post_migrate.send(sender=core, app_config=core, verbosity=0, interactive=False, using=connection.alias)


def _kept_rows(connection: BaseDatabaseWrapper) -> list[list[Any]]:
    found = []
    with connection.cursor() as cursor:
        for table, columns in KEPT.items():
            cursor.execute(f"SELECT {columns} FROM {table} ORDER BY id")  # noqa: S608 - constants
            found.append(cursor.fetchall())
    return found


def _empty(connection: BaseDatabaseWrapper) -> None:
    names = connection.introspection.django_table_names(only_existing=True, include_views=False)
    tables = [connection.ops.quote_name(name) for name in names if name not in KEPT]
    with connection.constraint_checks_disabled(), transaction.atomic(connection.alias), connection.cursor() as cursor:
        # The names are those of our models' tables.
        cursor.execute("SELECT " + ", ".join(f"EXISTS (SELECT 1 FROM {table})" for table in tables))  # noqa: S608
        for table, has_rows in zip(tables, cursor.fetchone(), strict=True):
            if has_rows:
                cursor.execute(f"DELETE FROM {table}")  # noqa: S608
