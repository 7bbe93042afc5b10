"""Claiming: a worker takes due rows for the time of a lease, and nobody else can."""

from __future__ import annotations

import datetime
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from django.db import Error, connections, transaction
from django.db.models import QuerySet

from dsn_core import conf
from dsn_core.models.claimable import Claimable
from dsn_core.models.clock import DatabaseClock, DatabaseNow
from dsn_core.queue.updating import update

RowT = TypeVar("RowT", bound=Claimable)

#: Rows of one UPDATE. Databases bound the parameters of a statement.
ROWS_PER_STATEMENT = 500


@dataclass
class Claim(Generic[RowT]):
    """Rows that belong to whoever knows the token, until the lease ends."""

    rows: list[RowT]
    token: uuid.UUID
    clock: DatabaseClock
    #: When the lease last began, by this process's own clock.
    renewed: float = field(default_factory=time.monotonic)
    #: When the lease is to begin anew, by the same.
    _next: float = field(default_factory=lambda: time.monotonic() + conf.current().LEASE_SECONDS / 3)

    def is_ours(self, part: float = 1.0) -> bool:
        """Whether this ``part`` of the lease is not over: nobody else has taken the rows."""
        return time.monotonic() - self.renewed < conf.current().LEASE_SECONDS * part

    def keep(self, rows: Sequence[RowT], using: str) -> bool:
        """Begin the lease of ``rows`` anew when a third of it is over, so that long work stays ours.

        Returns False when it was too late: another worker has taken some of them, or the database is away
        and the lease is over.
        """
        now = time.monotonic()
        if now < self._next:
            return True
        self._next = now + conf.current().LEASE_SECONDS / 3
        renewed = self._renew(rows, using)
        # Not a reason to break off a message that is under way: the database may be back in a moment.
        return self.is_ours() if renewed is None else renewed

    def hold(self, rows: Sequence[RowT], using: str) -> bool:
        """Whether messages of ``rows`` may be given to a messenger now, which then has a third of the lease for them.

        Asks the database when less than two thirds of the lease are left. While that is away, the last third of a
        lease begins nothing: nothing was sent yet, and another worker is about to take over.
        """
        if self.is_ours(1 / 3):
            return True
        renewed = self._renew(rows, using)
        return self.is_ours(2 / 3) if renewed is None else renewed

    def _renew(self, rows: Sequence[RowT], using: str) -> bool | None:
        """Begin the lease anew; return whether all rows were still ours, None when the database could not say."""
        now, lease = time.monotonic(), conf.current().LEASE_SECONDS
        kept = 0
        try:
            for some in chunks(rows):
                ours = type(some[0])._base_manager.using(using)
                ours = ours.filter(pk__in=[row.pk for row in some], lease_token=self.token)
                kept += ours.update(not_before=self.clock.now(lease))
        except Error:
            if connections[using].in_atomic_block:
                raise
            connections[using].close_if_unusable_or_obsolete()
            return None
        self.renewed, self._next = now, now + lease / 3
        return kept == len(rows)


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
    everything = candidates.model._base_manager.using(using)
    with transaction.atomic(using=using):
        if features.has_select_for_update:
            due = due.select_for_update(skip_locked=features.has_select_for_update_skip_locked)
        else:
            # Writing first waits for the write lock; a transaction that has read before would fail at once.
            everything.filter(pk=-1).update(attempts=0)
        # Before the question: the lease that this process counts on never ends after the one that is stored.
        asked_at = time.monotonic()
        rows: list[Any] = list(due.annotate(database_now=DatabaseNow())[:limit])
        if not rows:
            return None
        # After the answer: a clock ahead of the database's would make rows that are not due yet.
        clock = DatabaseClock(rows[0].database_now)
        if limit is not None:
            rows = _apart(rows)
        token = uuid.uuid4()
        lease_end = clock.read + datetime.timedelta(seconds=conf.current().LEASE_SECONDS)
        for row in rows:
            _take(row, status, token, lease_end)
        for some in chunks(rows):
            update(some, ("status", "lease_token", "not_before", "attempts"), using)
    return Claim(rows, token, clock, asked_at)


def _take(row: Any, status: str, token: uuid.UUID, lease_end: datetime.datetime) -> None:
    row.due_at, row.not_before = row.not_before, lease_end
    row.status, row.lease_token = status, token
    row.attempts += 1


def _apart(rows: list[RowT]) -> list[RowT]:
    """Let a row that was abandoned again and again go alone: if it kills its workers, then no others with it."""
    harmless = [row for row in rows if row.lease_token is None or row.attempts < 2]
    return rows[:1] if rows[0] not in harmless else harmless


def chunks(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """``rows``, as many at a time as one statement takes."""
    for start in range(0, len(rows), ROWS_PER_STATEMENT):
        yield rows[start : start + ROWS_PER_STATEMENT]
