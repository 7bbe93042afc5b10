"""The system checks, for ``manage.py check``; ``docs/reference/checks.md`` lists their ids, which are stable.

None of them raises, whatever a plugin does. A plugin's fault is a warning, since an error stops every command of the
site; with ``--deploy`` one error counts these.
"""

from __future__ import annotations

from typing import Final

from django.core.checks import Tags, register

from dsn_core.checks.configuration import check_database, check_models, check_settings
from dsn_core.checks.deployment import check_deployment, check_running
from dsn_core.checks.installed import check_plugins
from dsn_core.checks.paths import check_paths
from dsn_core.checks.stored import check_stored

TAG: Final = "dsn"


def register_all() -> None:
    """Register every check with Django. May be called again."""
    for check in (check_settings, check_models, check_plugins, check_paths, check_database):
        register(check, TAG)
    for check in (check_deployment, check_running):
        register(check, TAG, deploy=True)
    # Without our tag: from Django 6.1 on, --tag passes every database to the checks that it selects.
    register(check_stored, Tags.database)
