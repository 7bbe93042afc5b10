"""What the entry point ``celery`` names: the plugin's hooks."""

from __future__ import annotations

from collections.abc import Iterable

# Imported for what it registers: wherever the plugin is loaded, Celery's workers know the tasks.
import dsn_celery.tasks  # noqa: F401
from dsn_celery.runner import CeleryRunner
from dsn_core import BaseRunner, hookimpl


@hookimpl
def dsn_runners() -> Iterable[type[BaseRunner]]:
    """The runner ``celery``."""
    return [CeleryRunner]
