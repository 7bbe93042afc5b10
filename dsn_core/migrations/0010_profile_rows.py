from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.db import migrations

from dsn_core.models import profile_rows
from dsn_core.plugins.registry import registry
from dsn_core.plugins.kinds import MESSENGERS

#: The messengers that come with dsn-core. Those of others that read a column of the profile are asked.
COLUMNS = {"telegram": "telegram_chat_id", "sms": "phone"}


def forwards(apps: Any, schema_editor: Any) -> None:
    others = [registry.messenger_class(alias) for alias in registry.names(MESSENGERS)]
    columns = {cls.name: cls.profile_field for cls in others if cls.profile_field in COLUMNS.values()} | COLUMNS
    _copy(profile_rows.copy_to_addresses, columns, apps, schema_editor)


def backwards(apps: Any, schema_editor: Any) -> None:
    _copy(profile_rows.copy_to_profiles, COLUMNS, apps, schema_editor)


def _copy(copy: Callable[..., Any], columns: Mapping[str, str], apps: Any, schema_editor: Any) -> None:
    profile, address = (apps.get_model("dsn_core", name) for name in ("Profile", "Address"))
    copy(profile, address, columns, schema_editor.connection.alias)


class Migration(migrations.Migration):
    """Users' addresses, from the columns of the profile into rows. The columns stay for one release.

    In transactions of a page each, apart from the migration that makes the table: one that is broken off goes on where
    it stopped.
    """

    atomic = False

    dependencies = [("dsn_core", "0010_address")]

    operations = [migrations.RunPython(forwards, backwards)]
