"""dsn-celery: the runner ``celery`` of dsn-core, which leaves the work to Celery's workers.

Importing it needs no Django that is set up, so that a settings module can.
"""

from __future__ import annotations

from dsn_celery.beat import beat_schedule
from dsn_celery.runner import CeleryRunner

__all__ = ["CeleryRunner", "beat_schedule"]
