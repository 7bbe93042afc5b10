"""Search by keys and by ids, with or without dashes."""

from __future__ import annotations

import uuid

from django.db.models import BigAutoField, Q

#: The largest key: databases refuse to compare with larger numbers.
MAX_KEY = BigAutoField.MAX_BIGINT


def by_key(term: str) -> Q:
    """Rows with ``term`` as their key, occurrence or message id."""
    condition = Q(pk__in=[])
    head, _dot, tail = term.rpartition(".")
    key = tail.removeprefix("#") if _as_uuid(head) or not head else ""
    if key.isdecimal() and key.isascii() and len(key) <= len(str(MAX_KEY)) and int(key) <= MAX_KEY:
        condition |= Q(pk=int(key))
    if occurrence := _as_uuid(term):
        condition |= Q(occurrence=occurrence)
    return condition


def _as_uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
