"""Claiming: a worker takes due rows for the time of a lease, and nobody else can."""

from __future__ import annotations

import datetime
import uuid
from dataclasses import dataclass
from typing import Generic, TypeVar

from django.db import connections, transaction
from django.db.models import F, QuerySet

from dsn_core import conf
from dsn_core.models.claimable import Claimable
from dsn_core.models.clock import DatabaseClock, DatabaseNow

RowT = TypeVar("RowT", bound=Claimable)


@dataclass(frozen=True)
class Claim(Generic[RowT]):
    """Rows that belong to whoever knows the token, until the lease ends."""

    rows: list[RowT]
    token: uuid.UUID
    clock: DatabaseClock


def claim(candidates: QuerySet[RowT], *, limit: int | None, status: str) -> Claim[RowT] | None:
    """Take at most ``limit`` of those of ``candidates`` that are due, marked with ``status``.

    The attempt is counted now, so that a row that kills its worker is dead at last. On databases
    that can, rows that another worker is just taking are passed over; on SQLite there is one
    writer at a time. Returns None when nothing was due.
    """
    using = candidates.db
    due = candidates.filter(not_before__lte=DatabaseNow()).order_by("not_before", "id")
    features = connections[using].features
    if not features.has_select_for_update and not due.exists():
        # Looking does not take SQLite's only write lock.
        return None
    with transaction.atomic(using=using):
        if features.has_select_for_update:
            due = due.select_for_update(skip_locked=features.has_select_for_update_skip_locked)
        else:
            # Writing first waits for the write lock; a transaction that has read before would fail at once.
            candidates.model._base_manager.using(using).filter(pk=-1).update(attempts=0)
        rows = list(due.annotate(database_now=DatabaseNow())[:limit])
        if not rows:
            return None
        clock = DatabaseClock(rows[0].database_now)  # type: ignore[attr-defined]
        token = uuid.uuid4()
        lease_end = clock.read + datetime.timedelta(seconds=conf.current().LEASE_SECONDS)
        candidates.model._base_manager.using(using).filter(pk__in=[row.pk for row in rows]).update(
            status=status, lease_token=token, not_before=lease_end, attempts=F("attempts") + 1
        )
    for row in rows:
        row.lease_token, row.not_before = token, lease_end
        row.attempts += 1
    return Claim(rows, token, clock)
