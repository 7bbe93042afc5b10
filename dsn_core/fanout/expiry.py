"""When the messages of an event expire."""

from __future__ import annotations

import contextlib
import datetime

from dsn_core.contracts.spans import parse_expiry
from dsn_core.exceptions import ConfigurationError
from dsn_core.models import Backend, Event, Subscription
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
