"""A wrong clock: what this process takes for now is so many seconds off. Its steady clock is not."""

from __future__ import annotations

import datetime
import time

from django.utils import timezone


def put_off(seconds: float) -> None:
    """Put this process's clock off. Imported before anything asks what time it is."""
    right_time, right_now = time.time, timezone.now
    by = datetime.timedelta(seconds=seconds)
    time.time = lambda: right_time() + seconds
    timezone.now = lambda: right_now() + by
