"""What plugins with tables need: the database's time, rows that are made once, and turns that all workers share."""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, ParamSpec, TypeVar

from django.db import OperationalError, connections, models, router, transaction

P = ParamSpec("P")
T = TypeVar("T")

#: How often a function is tried that meets a deadlock.
TRIES: Final = 5
#: Seconds. A turn that is farther away was taken before the clock was set back, and is ignored.
LONGEST_WAIT: Final = 300.0


class EpochNow(models.Func):
    """Seconds since 1970 by the database's clock, which all workers share: those of their machines may differ."""

    output_field = models.FloatField()
    template = "CAST(EXTRACT(EPOCH FROM STATEMENT_TIMESTAMP()) AS double precision)"

    def as_mysql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="(UNIX_TIMESTAMP(CURRENT_TIMESTAMP(6)) + 0e0)", **context)

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="((JULIANDAY('now') - 2440587.5) * 86400.0)", **context)


def insisting(model: type[models.Model]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """For functions that write rows of ``model``: called again when the database ended them because of a deadlock.

    The database has then undone their work. Within a transaction of the caller the error is raised, since the whole
    transaction is lost.
    """

    def decorate(work: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(work)
        def tried(*args: P.args, **kwargs: P.kwargs) -> T:
            for _ in range(TRIES - 1):
                try:
                    return work(*args, **kwargs)
                except OperationalError:
                    if connections[router.db_for_write(model)].in_atomic_block:
                        raise
                    time.sleep(random.uniform(0.01, 0.1))  # noqa: S311 - no secret
            return work(*args, **kwargs)

        return tried

    return decorate


def insert_missing(rows: Sequence[models.Model], using: str, *, key: Sequence[str]) -> None:
    """Insert those of ``rows``, all of one model, that are not there yet. ``key``: the fields that are unique together.

    Give them in one order everywhere: two workers that insert the same rows in two orders block each other. Not by
    ``ignore_conflicts``, which on MariaDB hides other errors as well.
    """
    if rows:
        target = list(key) if connections[using].features.supports_update_conflicts_with_target else None
        manager = type(rows[0])._default_manager.using(using)
        manager.bulk_create(rows, update_conflicts=True, update_fields=list(key)[:1], unique_fields=target)


def take_turns(rows: models.QuerySet[Any], lasting: Mapping[str, float], *, key: str) -> dict[str, float]:
    """Take the turns of many keys, each for so many seconds, for all workers together: so many messages to one chat.

    ``rows`` has a row for each key, with its name in the field ``key`` and a ``FloatField`` ``free_at`` (0 at first).
    Returns by key how many seconds its turn is away: 0, it was taken; more, it was not. One query, and one for each
    time at which turns end.
    """
    using = rows.db
    features = connections[using].features
    waits = dict(lasting)
    with transaction.atomic(using=using):
        found = rows.filter(**{f"{key}__in": list(lasting)}).order_by("pk").annotate(now=EpochNow())
        if features.has_select_for_update:
            # A row that another worker has locked is that worker's turn.
            found = found.select_for_update(skip_locked=features.has_select_for_update_skip_locked)
        else:
            # Writing first waits for SQLite's write lock; a transaction that has read before would fail at once.
            rows.filter(pk=-1).update(free_at=0)
        taken: dict[float, list[Any]] = {}
        for row in found:
            now, name = float(row.now), getattr(row, key)
            waits[name] = row.free_at - now if now < row.free_at < now + LONGEST_WAIT else 0.0
            if not waits[name]:
                taken.setdefault(now + lasting[name], []).append(row.pk)
        for free_at, keys in taken.items():
            rows.filter(pk__in=keys).update(free_at=free_at)
    return waits
