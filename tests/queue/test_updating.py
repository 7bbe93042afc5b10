"""Updating rows at once: whatever differs between them is stored as it is, on every database."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from dsn_core.models import Backend, Delivery
from dsn_core.queue.updating import column_is, update

NAMES = ("status", "attempts", "not_before", "last_error", "provider_id", "address", "finished_at", "lease_token")
MOMENT = datetime(2026, 3, 29, 1, 59, 59, 123456, tzinfo=UTC)


@pytest.fixture
def rows(db: None) -> list[Delivery]:
    backend = Backend.objects.create(messenger="memory", message_template="plain")
    token = uuid.uuid4()
    made = [
        Delivery(
            event_id=1,
            backend=backend,
            occurrence=token,
            messenger="memory",
            address=f"a{number}@example.org",
            address_key=str(number),
            lease_token=token,
        )
        for number in range(4)
    ]
    Delivery.objects.bulk_create(made)
    return list(Delivery.objects.order_by("id"))


def stored(rows: list[Delivery]) -> list[tuple[Any, ...]]:
    return [Delivery.objects.values_list(*NAMES).get(pk=row.pk) for row in rows]


def test_each_row_gets_its_own_values_with_one_statement(rows) -> None:
    texts = ["", "100 % of 'them', %s and \"so\" {a,b}", "Grüße, 你好 🎬 \\ $1 ?\n\t\\", "NULL, [1, null]"]
    for number, row in enumerate(rows):
        row.status = list(Delivery.Status)[number]
        row.attempts = number
        row.not_before = MOMENT + timedelta(microseconds=number) if number % 2 else None
        row.finished_at = None if number % 2 else MOMENT - timedelta(days=number)
        row.last_error = row.provider_id = row.address = texts[number]
        row.lease_token = uuid.UUID(int=number) if number else None
    with CaptureQueriesContext(connection) as queries:
        assert update(rows, NAMES, "default") == 4
    assert len(queries) == 1
    assert stored(rows) == [tuple(getattr(row, name) for name in NAMES) for row in rows]


@pytest.mark.parametrize("differing", [True, False])
def test_rows_that_another_worker_holds_stay_as_they_are(rows, differing) -> None:
    token, theirs = rows[0].lease_token, uuid.uuid4()
    Delivery.objects.filter(pk=rows[1].pk).update(lease_token=theirs)
    for row in rows:
        row.provider_id = f"p{row.pk}" if differing else "p"
        row.lease_token = None
    owned = column_is(Delivery, "lease_token", token, "default")
    assert update(rows, ("provider_id", "lease_token"), "default", owned) == 3
    found = Delivery.objects.get(pk=rows[1].pk)
    assert (found.provider_id, found.lease_token) == ("", theirs)
    assert set(Delivery.objects.exclude(pk=found.pk).values_list("provider_id", flat=True)) == {
        row.provider_id for row in rows if row.pk != found.pk
    }


def test_only_the_given_rows_are_touched(rows) -> None:
    for number, row in enumerate(rows[:2]):
        row.attempts = number + 5
    assert update(rows[:2], ("attempts",), "default") == 2
    assert list(Delivery.objects.order_by("id").values_list("attempts", flat=True)) == [5, 6, 0, 0]
