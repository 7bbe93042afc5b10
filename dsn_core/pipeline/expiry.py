"""Old news: when a message expires, and that it is never sent late."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterable

from dsn_core.contracts.spans import parse_expiry
from dsn_core.exceptions import ConfigurationError
from dsn_core.models import Backend, Delivery, Event, Subscription
from dsn_core.models.delivery import Status
from dsn_core.pipeline.batch import Batch
from dsn_core.plugins.registry import registry


def end_of(event: Event, backend: Backend, subscription: Subscription) -> datetime.datetime | None:
    """When the event stops being news: as the subscription says, else as the message template does."""
    text = subscription.expires
    if not text:
        # Where the template is not installed, rendering will say so.
        with contextlib.suppress(ConfigurationError):
            text = registry.message_template(backend.message_template).expires
    span = parse_expiry(text)
    return None if span is None else event.created_at + span


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
