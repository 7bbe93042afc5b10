"""How fast messages may follow one another into a chat, for all workers."""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, ParamSpec, TypeVar

from django.db import OperationalError, connections, models, router, transaction

from dsn_telegram.addresses import interval_of
from dsn_telegram.models import Chat

P = ParamSpec("P")
T = TypeVar("T")

#: How often what meets a deadlock is tried.
TRIES: Final = 5


class _EpochNow(models.Func):
    """Seconds since 1970 by the database's clock: workers' own may differ by minutes."""

    output_field = models.FloatField()
    template = "CAST(EXTRACT(EPOCH FROM STATEMENT_TIMESTAMP()) AS double precision)"

    def as_mysql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="(UNIX_TIMESTAMP(CURRENT_TIMESTAMP(6)) + 0e0)", **context)

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="((JULIANDAY('now') - 2440587.5) * 86400.0)", **context)


def _insisting(work: Callable[P, T]) -> Callable[P, T]:
    """``work``, tried again where the database made it the victim of a deadlock: nothing of it was done then."""

    @functools.wraps(work)
    def tried(*args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(TRIES - 1):
            try:
                return work(*args, **kwargs)
            except OperationalError:
                if connections[router.db_for_write(Chat)].in_atomic_block:
                    raise
                time.sleep(random.uniform(0.01, 0.1))  # noqa: S311 - no secret
        return work(*args, **kwargs)

    return tried


@_insisting
def moves(bot: str, chats: Iterable[str]) -> dict[str, str]:
    """Where those of ``chats`` went that became supergroups; makes the rows of chats that are new."""
    using = router.db_for_write(Chat)
    wanted = set(chats)
    rows = Chat.objects.using(using).filter(bot=bot)
    known = dict(rows.filter(chat__in=wanted).values_list("chat", "moved_to"))
    moved = {old: new for old, new in known.items() if new}
    # In one order everywhere: two workers that insert the same rows in two orders would block each other.
    if new := sorted((wanted - set(known)) | (set(moved.values()) - set(known))):
        _insert([Chat(bot=bot, chat=chat) for chat in new], using)
    return moved


@_insisting
def remember_move(bot: str, old: str, new: str) -> None:
    """From now on, messages to ``old`` go to ``new``."""
    using = router.db_for_write(Chat)
    _insert([Chat(bot=bot, chat=chat) for chat in sorted((old, new))], using)
    rows = Chat.objects.using(using).filter(bot=bot)
    # What led to the old one leads on, so that nobody has to walk a chain.
    rows.filter(models.Q(chat=old) | models.Q(moved_to=old)).update(moved_to=new)


@_insisting
def book(bot: str, calls: Mapping[str, int]) -> dict[str, float]:
    """Take each chat's turn for so many calls; return by chat how many seconds its turn is away: 0, it is now.

    A turn that is away was not taken. The rows must be there: see :func:`moves`.
    """
    using = router.db_for_write(Chat)
    rows = Chat.objects.using(using).filter(bot=bot)
    features = connections[using].features
    waits = {chat: interval_of(chat) for chat in calls}
    with transaction.atomic(using=using):
        found = rows.filter(chat__in=list(calls)).order_by("id").annotate(now=_EpochNow())
        if features.has_select_for_update:
            # One that another worker is just taking is its turn, not ours.
            found = found.select_for_update(skip_locked=features.has_select_for_update_skip_locked)
        else:
            # Writing first waits for SQLite's write lock; a transaction that has read before would fail at once.
            rows.filter(pk=-1).update(free_at=0)
        taken: dict[float, list[int]] = {}
        for row in found:
            now = float(row.now)
            # A clock that was set back must not silence a chat.
            longest = 100 * interval_of(row.chat)
            waits[row.chat] = row.free_at - now if now < row.free_at < now + longest else 0.0
            if not waits[row.chat]:
                taken.setdefault(now + calls[row.chat] * interval_of(row.chat), []).append(row.pk)
        for free_at, keys in taken.items():
            rows.filter(pk__in=keys).update(free_at=free_at)
    return waits


def _insert(rows: list[Chat], using: str) -> None:
    """Insert those that are missing. Not by ``ignore_conflicts``: on MariaDB that hides other errors, too."""
    target = ["bot", "chat"] if connections[using].features.supports_update_conflicts_with_target else None
    Chat.objects.using(using).bulk_create(rows, update_conflicts=True, update_fields=["bot"], unique_fields=target)
