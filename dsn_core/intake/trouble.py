"""Errors while events are recorded: counters, and the logging of dropped events."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections import Counter
from collections.abc import Iterable, Sequence

from dsn_core import context
from dsn_core.intake.storing import NewEvent
from dsn_core.models import Event
from dsn_core.signals import events_dropped

logger = logging.getLogger("dsn_core.intake")

#: Triggers that one line of the log names.
MAX_NAMED = 5

#: Numbers of errors in this process, by kind, for tests and health pages. ``dropped`` counts events.
errors: Counter[str] = Counter()


def named(labels: Iterable[str]) -> str:
    distinct = list(dict.fromkeys(labels))
    more = f" and {len(distinct) - MAX_NAMED} more" if len(distinct) > MAX_NAMED else ""
    return ", ".join(distinct[:MAX_NAMED]) + more


def drop(events: Sequence[NewEvent], using: str, reason: str) -> None:
    """Give ``events`` up: log each as JSON, from which it can be restored, count them, and send ``events_dropped``."""
    errors["dropped"] += len(events)
    columns = [dataclasses.asdict(event) for event in events]
    for values in columns:
        logger.error("An event is dropped (%s): %s", reason, json.dumps(values, default=str))
    with context.deeper():
        rows = [Event(**values) for values in columns]
        events_dropped.send_robust(sender=Event, events=rows, using=using, reason=reason)
