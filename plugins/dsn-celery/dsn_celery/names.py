"""The names of the tasks, which Celery's settings refer to: ``task_routes``, ``beat_schedule``."""

from __future__ import annotations

from typing import Final

FAN_OUT: Final = "dsn_celery.fan_out"
SEND: Final = "dsn_celery.send"
SWEEP: Final = "dsn_celery.sweep"


def route_of(messenger: str) -> str:
    """The name by which ``task_routes`` can send one messenger's task to a queue of its own."""
    return f"{SEND}.{messenger}"
