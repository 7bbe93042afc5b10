"""Old news: a message that has expired is never sent late."""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from dsn_core.models import Delivery
from dsn_core.models.delivery import Status
from dsn_core.sending.batch import Batch


def retire(batch: Batch, rows: Iterable[Delivery]) -> None:
    """End those of ``rows`` that have expired by now."""
    now = batch.clock.now()
    for row in rows:
        if has_expired(row, now):
            before = f" Before that: {row.last_error}" if row.last_error else ""
            moment = f"{row.expires_at:%Y-%m-%d %H:%M:%S %Z}".strip()
            batch.end(row, Status.SKIPPED, f"It expired at {moment}, before it was sent; it is not sent late.{before}")


def has_expired(row: Delivery, now: datetime.datetime) -> bool:
    """Whether ``row`` is old news at the moment ``now`` of the database's clock."""
    return row.expires_at is not None and row.expires_at <= now
