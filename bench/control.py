"""The control of the rows about deliveries: a project's own queue in plain Django code, as one would write it."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable, Sequence

from django.contrib.auth.models import Group, User
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from bench.models import Job

#: Rows of one INSERT, and jobs of one claim: as many as a messenger gets at once.
ROWS, BATCH = 1_000, 100


def fill(group: Group, event_id: int) -> None:
    """A row for each user of ``group``."""
    keys = User.objects.filter(groups=group).order_by("pk").values_list("pk", flat=True).iterator(chunk_size=ROWS)
    while some := list(itertools.islice(keys, ROWS)):
        Job.objects.bulk_create([Job(event_id=event_id, user_id=key) for key in some], ignore_conflicts=True)


def work(send: Callable[[Sequence[Job]], object]) -> int:
    """Claim, send and settle, batch by batch, until nothing is left; return how many."""
    done = 0
    while jobs := claim():
        send(jobs)
        Job.objects.filter(pk__in=[job.pk for job in jobs]).update(
            status="sent", not_before=None, finished_at=timezone.now()
        )
        done += len(jobs)
    return done


def work_alone(send: Callable[[Sequence[Job]], object]) -> int:
    """The same without leases, attempts and retries: what a single sender can do that never fails."""
    done = 0
    while jobs := list(Job.objects.filter(not_before__isnull=False).order_by("not_before", "id")[:BATCH]):
        send(jobs)
        Job.objects.filter(pk__in=[job.pk for job in jobs]).update(
            status="sent", not_before=None, finished_at=timezone.now()
        )
        done += len(jobs)
    return done


def claim() -> list[Job]:
    """Take the jobs that are due, so that no other worker does."""
    due = Job.objects.filter(not_before__lte=timezone.now()).order_by("not_before", "id")
    with transaction.atomic():
        if connection.features.has_select_for_update_skip_locked:
            due = due.select_for_update(skip_locked=True)
        jobs = list(due[:BATCH])
        lease = timezone.now() + datetime.timedelta(minutes=5)
        Job.objects.filter(pk__in=[job.pk for job in jobs]).update(
            status="sending", not_before=lease, attempts=F("attempts") + 1
        )
    return jobs
