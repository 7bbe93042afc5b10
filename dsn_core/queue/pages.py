"""Pages of deliveries: made by the fan-out, claimed as one, divided, and broken up when their worker died."""

from __future__ import annotations

import contextlib
import datetime
import secrets
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from django.db import connections, transaction
from django.db.models import Count, Exists, F, Max, Min, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from dsn_core import conf
from dsn_core.models import Delivery, DeliveryPage
from dsn_core.models.clock import DatabaseClock, DatabaseNow
from dsn_core.models.delivery import IN_PAGE, Status
from dsn_core.models.delivery_page import PAGE_SIZE
from dsn_core.queue.claiming import Claim, wait_for_write_lock
from dsn_core.queue.updating import Condition, column_is

#: From so many deliveries of one INSERT on they wait in pages: fewer are better claimed one by one, since a batch of
#: these may mix many events, and a page is of one.
FEWEST: Final = 100
#: Pages that a worker tries to claim, one after the other, while other workers take them.
CANDIDATES: Final = 10


@contextlib.contextmanager
def paged(pattern: Delivery, using: str) -> Iterator[Delivery]:
    """The pattern of deliveries that wait in pages. What is inserted by it within this block gets its pages at the end.

    A transaction: there is never a delivery without its page.
    """
    # A bound is enough, so that it is asked before: on SQLite a transaction that reads first cannot write.
    newest = Delivery.objects.using(using).aggregate(key=Max("pk"))["key"] or 0
    key = secrets.randbits(63)
    with transaction.atomic(using=using):
        yield pattern.like(page_key=key)
        rows = Delivery.objects.using(using).filter(pk__gt=newest, page_key=key)
        found = rows.aggregate(first=Min("pk"), last=Max("pk"))
        if found["first"] is not None:
            DeliveryPage.objects.using(using).bulk_create(
                DeliveryPage(
                    event_id=pattern.event_id,
                    messenger=pattern.messenger,
                    priority=pattern.priority,
                    key=key,
                    first_id=begin,
                    last_id=min(begin + PAGE_SIZE - 1, found["last"]),
                    not_before=pattern.created_at,
                )
                for begin in range(found["first"], found["last"] + 1, PAGE_SIZE)
            )


@dataclass
class PageClaim(Claim[Delivery]):
    """Deliveries of one page: their lease is the page's, and their rows are written when they are settled."""

    page: DeliveryPage = field(kw_only=True)

    empty: ClassVar[tuple[str, ...]] = ("not_before", "lease_token")
    ends_with_rest: ClassVar[bool] = True

    def owned(self, using: str) -> Condition:
        # PostgreSQL looks again at a row that another worker changed meanwhile, and not at the page: a page that was
        # broken up has taken its key from the rows.
        quote = connections[using].ops.quote_name
        names = map(quote, (DeliveryPage._meta.db_table, "id", "lease_token"))
        is_in_page, params = column_is(Delivery, "page_key", self.page.key, using)
        token = DeliveryPage._meta.get_field("lease_token").get_db_prep_value(self.token, connections[using])
        is_leased = "EXISTS (SELECT 1 FROM {} WHERE {} = %s AND {} = %s)".format(*names)  # noqa: S608 - names
        return f"{is_in_page} AND {is_leased}", [*params, self.page.pk, token]

    def end(self, using: str, *, is_rest_left: bool) -> None:
        """Delete the page; give it back when some of its deliveries still wait in it."""
        page, ours = self.page, self._ours(using)
        waiting = Delivery.objects.using(using).of_page(page)
        # Nothing refers to a page that Django would have to look for.
        ended = ours.filter(~Exists(waiting))
        if is_rest_left or not ended._raw_delete(using):
            ours.update(not_before=page.due_at, lease_token=None)

    def _lengthen(self, rows: Any, lease_end: datetime.datetime, using: str) -> bool:
        return self._ours(using).update(not_before=lease_end) == 1

    def _ours(self, using: str) -> QuerySet[DeliveryPage]:
        return DeliveryPage.objects.using(using).filter(pk=self.page.pk, lease_token=self.token)


def claim_page(messenger: str, priority: int, limit: int, using: str, *, unread: tuple[str, ...]) -> PageClaim | None:
    """Take at most ``limit`` deliveries of the first page that is due, without their columns ``unread``.

    What is left of the page stays due. A page whose worker died is broken up. Returns None when none was due.
    """
    due = _due(messenger, using).filter(priority=priority)
    while keys := list(due.order_by("not_before", "id").values_list("pk", flat=True)[:CANDIDATES]):
        has_changed = False
        for key in keys:
            with transaction.atomic(using=using):
                asked_at = time.monotonic()
                # The last one is waited for: another worker may be about to leave a part of it.
                page = _locked(due.filter(pk=key), using, waits=key == keys[-1])
                if page is None:
                    continue
                if page.lease_token is None and (taken := _take(page, limit, asked_at, using, unread)) is not None:
                    return taken
                break_up(page, using)
                has_changed = True
        if not has_changed:
            break
    return None


def break_up_due(messenger: str, using: str) -> None:
    """Break up the pages of a messenger that takes its deliveries otherwise, and that are due."""
    due = _due(messenger, using)
    for key in list(due.order_by("id").values_list("pk", flat=True)):
        with transaction.atomic(using=using):
            if (page := _locked(due.filter(pk=key), using, waits=True)) is not None:
                break_up(page, using)


def break_up(page: DeliveryPage, using: str) -> None:
    """Let the deliveries that wait in ``page``, which is locked, be claimed one by one.

    Where it has a lease, its worker died, or lost it: that was an attempt, which may have been such a delivery's fault.
    """
    values: dict[str, Any] = {"not_before": page.not_before, "page_key": None}
    if page.lease_token is not None:
        values |= {"status": Status.RETRY, "attempts": F("attempts") + 1}
    Delivery.objects.using(using).of_page(page).order_by().update(**values)
    DeliveryPage.objects.using(using).filter(pk=page.pk).delete()


def count_waiting(pages: QuerySet[DeliveryPage]) -> int:
    """How many deliveries wait in ``pages``, or are in the hands of workers that hold these."""
    rows = Delivery.objects.using(pages.db).filter(
        IN_PAGE, page_key=OuterRef("key"), pk__gte=OuterRef("first_id"), pk__lte=OuterRef("last_id")
    )
    number = rows.order_by().values("page_key").annotate(number=Count("pk")).values("number")
    return int(pages.order_by().annotate(number=Subquery(number)).aggregate(all=Coalesce(Sum("number"), 0))["all"])


def _due(messenger: str, using: str) -> QuerySet[DeliveryPage]:
    return DeliveryPage.objects.using(using).filter(messenger=messenger, not_before__lte=DatabaseNow())


def _locked(one: QuerySet[DeliveryPage], using: str, *, waits: bool) -> Any:
    """The page, locked, with the database's ``now``; None when another worker has taken it, or is just doing so.

    By its key: MariaDB may lock all that it reads to find the first.
    """
    features = connections[using].features
    if features.has_select_for_update:
        one = one.select_for_update(skip_locked=not waits and features.has_select_for_update_skip_locked)
    else:
        wait_for_write_lock(DeliveryPage.objects.using(using))
    return one.annotate(database_now=DatabaseNow()).first()


def _take(page: Any, limit: int, asked_at: float, using: str, unread: tuple[str, ...]) -> PageClaim | None:
    """Claim ``page``, which is locked; None when nothing waits in it any more."""
    rows = list(Delivery.objects.using(using).of_page(page).defer(*unread).order_by("pk")[:limit])
    if not rows:
        return None
    clock = DatabaseClock(page.database_now)
    token, due_at, lease_end = uuid.uuid4(), page.not_before, clock.now(conf.current().LEASE_SECONDS)
    pages = DeliveryPage.objects.using(using)
    last = rows[-1].pk
    if len(rows) < limit or last >= page.last_id:
        pages.filter(pk=page.pk).update(lease_token=token, not_before=lease_end)
    else:
        # The rest keeps its row: another worker may be waiting for it.
        pages.filter(pk=page.pk).update(first_id=last + 1)
        page.pk, page.last_id, page.lease_token, page.not_before = None, last, token, lease_end
        page.save(using=using, force_insert=True)
    page.due_at = due_at
    for row in rows:
        row.due_at, row.status, row.lease_token = due_at, Status.SENDING, token
        row.attempts += 1
    return PageClaim(rows, token, clock, asked_at, page=page)
