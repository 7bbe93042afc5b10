"""Makes the entry of Celery's beat that looks for due work."""

from __future__ import annotations

from typing import Any

from dsn_celery.names import SWEEP


def beat_schedule(every: float = 60.0) -> dict[str, dict[str, Any]]:
    """The entry for ``beat_schedule`` that looks for due work ``every`` so many seconds.

    It brings back what is to be retried, what a killed worker held, and what was recorded while
    the broker was away::

        CELERY_BEAT_SCHEDULE = {**dsn_celery.beat_schedule(), ...}
    """
    return {"dsn-sweep": {"task": SWEEP, "schedule": float(every)}}
