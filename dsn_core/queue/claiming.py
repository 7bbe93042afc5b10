"""Claiming: a worker takes due rows for the time of a lease, and no other worker can."""

from __future__ import annotations

import datetime
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from django.db import Error, connections, transaction
from django.db.models import QuerySet

from dsn_core import conf
from dsn_core.models.claimable import Claimable
from dsn_core.models.clock import DatabaseClock, DatabaseNow
from dsn_core.queue.updating import Condition, column_is, update

RowT = TypeVar("RowT", bound=Claimable)

#: Rows of one UPDATE. Databases bound the parameters of a statement.
ROWS_PER_STATEMENT = 500


@dataclass(frozen=True)
class Work:
    """What came of one claim: how many rows were worked on, and when the messenger's rate lets it go on.

    ``rest`` is in seconds; None when there is no rate, or nothing that waits for it.
    """

    done: int = 0
    rest: float | None = None


@dataclass
class Claim(Generic[RowT]):
    """Rows that belong to the worker that knows the token, until the lease ends."""

    rows: list[RowT]
    token: uuid.UUID
    clock: DatabaseClock
    #: When the lease last began, by this process's own clock.
    renewed: float = field(default_factory=time.monotonic)
    #: When the lease is to begin again, by the same.
    _next: float = field(default_factory=lambda: time.monotonic() + conf.current().LEASE_SECONDS / 3)

    #: Columns that are NULL in the stored rows: they are written only where they get a value.
    empty: ClassVar[tuple[str, ...]] = ()
    #: Whether :meth:`end` gives back what is left, so that no row has to be written for it.
    ends_with_rest: ClassVar[bool] = False

    def is_ours(self, part: float = 1.0) -> bool:
        """Whether this ``part`` of the lease is not over: no other worker has taken the rows."""
        return time.monotonic() - self.renewed < conf.current().LEASE_SECONDS * part

    def keep(self, rows: Sequence[RowT], using: str) -> bool:
        """Begin the lease of ``rows`` again when a third of it is over, so that long work stays ours.

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

    def owned(self, using: str) -> Condition:
        """What holds of a row for as long as it is ours."""
        return column_is(type(self.rows[0]), "lease_token", self.token, using)

    def end(self, using: str, *, is_rest_left: bool) -> None:
        """Let go of what the claim holds besides its rows; ``is_rest_left``: some of these were given back."""

    def _renew(self, rows: Sequence[RowT], using: str) -> bool | None:
        """Begin the lease again; return whether all rows were still ours, None when the database could not say."""
        now, lease = time.monotonic(), conf.current().LEASE_SECONDS
        try:
            is_ours = self._lengthen(rows, self.clock.now(lease), using)
        except Error:
            if connections[using].in_atomic_block:
                raise
            connections[using].close_if_unusable_or_obsolete()
            return None
        self.renewed, self._next = now, now + lease / 3
        return is_ours

    def _lengthen(self, rows: Sequence[RowT], lease_end: datetime.datetime, using: str) -> bool:
        """Store the new end of the lease; return whether all rows were still ours."""
        kept = 0
        for some in chunks(rows):
            ours = type(some[0])._base_manager.using(using)
            kept += ours.filter(pk__in=[row.pk for row in some], lease_token=self.token).update(not_before=lease_end)
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
    with transaction.atomic(using=using):
        if features.has_select_for_update:
            due = due.select_for_update(skip_locked=features.has_select_for_update_skip_locked)
        else:
            wait_for_write_lock(candidates.model._base_manager.using(using))
        # Before the question: the lease that this process counts on never ends after the one that is stored.
        asked_at = time.monotonic()
        rows: list[Any] = list(due.annotate(database_now=DatabaseNow())[:limit])
        if not rows:
            return None
        # After the answer: a clock ahead of the database's would make rows that are not due yet.
        clock = DatabaseClock(rows[0].database_now)
        if limit is not None:
            # A row that was abandoned again and again goes alone: if it kills its workers, then no others with it.
            harmless = [row for row in rows if row.lease_token is None or row.attempts < 2]
            rows = rows[:1] if rows[0] not in harmless else harmless
        token = uuid.uuid4()
        lease_end = clock.read + datetime.timedelta(seconds=conf.current().LEASE_SECONDS)
        for row in rows:
            row.due_at, row.not_before = row.not_before, lease_end
            row.status, row.lease_token = status, token
            row.attempts += 1
        for some in chunks(rows):
            update(some, ("status", "lease_token", "not_before", "attempts"), using)
    return Claim(rows, token, clock, asked_at)


def wait_for_write_lock(rows: QuerySet[Any]) -> None:
    """Wait for SQLite's only write lock, by writing nothing. A transaction that has read before would fail at once."""
    rows.filter(pk=-1).update(lease_token=None)


def chunks(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """``rows``, as many at a time as one statement takes."""
    for start in range(0, len(rows), ROWS_PER_STATEMENT):
        yield rows[start : start + ROWS_PER_STATEMENT]
