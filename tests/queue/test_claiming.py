"""Claims: no row for two workers, and the database's clock for all."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.query import ModelIterable
from django.test import override_settings

from dsn_core.intake.record import outbox
from dsn_core.models import Backend, Delivery, Event, MessengerState, Trigger
from dsn_core.models.clock import DatabaseClock, DatabaseNow
from dsn_core.queue.claiming import claim
from dsn_core.runners import driver
from tests.queue.side_by_side import claimed_meanwhile, claimed_side_by_side


def fill(count: int, **values: Any) -> None:
    """``count`` due deliveries of one event by the messenger ``memory`` (or as given)."""
    backend, _ = Backend.objects.get_or_create(messenger=values.get("messenger", "memory"), message_template="simple")
    trigger = Trigger.objects.define("user_logged_in")
    payload = '{"kwargs":{},"sender":null,"action_object":null,"actor_object":null,"target":""}'
    event = Event.objects.create(trigger=trigger, verb="user_logged_in", payload=payload, status="expanded")
    given = {"messenger": "memory", "not_before": DatabaseNow(), **values}
    Delivery.objects.bulk_create(
        Delivery(
            event=event,
            backend=backend,
            occurrence=event.occurrence,
            address=f"a{n}@b.c",
            address_key=uuid.uuid4().hex,
            **given,
        )
        for n in range(count)
    )
    MessengerState.objects.get_or_create(messenger=given["messenger"])


def due() -> Any:
    return Delivery.objects.filter(messenger="memory", priority=1)


@pytest.mark.django_db
def test_a_claim_takes_the_oldest_counts_the_attempt_and_holds_for_the_lease(settings) -> None:
    settings.DSN = {"LEASE_SECONDS": 120}
    fill(5)
    Delivery.objects.filter(address="a3@b.c").update(not_before=datetime(2020, 1, 1, tzinfo=UTC))
    Delivery.objects.filter(address="a0@b.c").update(not_before=datetime(2100, 1, 1, tzinfo=UTC))
    Delivery.objects.filter(address="a1@b.c").update(not_before=None)
    first = claim(due(), limit=2, status="sending")
    assert [row.address for row in first.rows] == ["a3@b.c", "a2@b.c"]
    stored = Delivery.objects.get(address="a3@b.c")
    assert (stored.status, stored.attempts, stored.lease_token) == ("sending", 1, first.token)
    assert stored.not_before == first.clock.read + timedelta(seconds=120) == first.rows[0].not_before
    second = claim(due(), limit=2, status="sending")
    assert [row.address for row in second.rows] == ["a4@b.c"]
    assert claim(due(), limit=2, status="sending") is None


@pytest.mark.django_db
def test_the_clock_of_a_claim_is_never_ahead_of_the_databases(monkeypatch) -> None:
    fill(1)
    real = ModelIterable.__iter__

    def slow(self):
        # As a busy machine: the answer comes some time after the question.
        time.sleep(0.2)
        return real(self)

    monkeypatch.setattr(ModelIterable, "__iter__", slow)
    clock = claim(due(), limit=1, status="sending").clock
    ours = clock.now()
    assert ours <= Event.objects.values_list(DatabaseNow(), flat=True).first(), "what is due now is not due yet"


@pytest.mark.django_db
def test_an_expired_lease_is_taken_over() -> None:
    fill(1)
    first = claim(due(), limit=1, status="sending")
    Delivery.objects.update(not_before=DatabaseNow())
    second = claim(due(), limit=1, status="sending")
    assert second.rows[0].pk == first.rows[0].pk
    assert second.rows[0].attempts == 2
    assert second.token != first.token


@pytest.mark.django_db
def test_what_was_abandoned_twice_goes_alone() -> None:
    fill(4)
    claim(due(), limit=10, status="sending")
    Delivery.objects.update(not_before=DatabaseNow())
    assert len(claim(due(), limit=10, status="sending").rows) == 4, "once is no pattern"
    Delivery.objects.update(not_before=DatabaseNow())
    assert len(claim(due(), limit=10, status="sending").rows) == 1
    fill(2)
    assert [len(claim(due(), limit=10, status="sending").rows) for _ in range(4)] == [1, 1, 1, 2]


@pytest.mark.django_db
def test_keeping_a_claim_renews_its_lease_only_while_it_is_ours(settings) -> None:
    settings.DSN = {"LEASE_SECONDS": 300}
    fill(2)
    ours = claim(due(), limit=2, status="sending")
    before = dict(Delivery.objects.values_list("pk", "not_before"))
    ours.keep(ours.rows, outbox())
    assert dict(Delivery.objects.values_list("pk", "not_before")) == before, "not before a third of it is over"

    settings.DSN = {"LEASE_SECONDS": 0.06}
    Delivery.objects.update(status="pending", not_before=DatabaseNow())
    ours = claim(due(), limit=2, status="sending")
    before = dict(Delivery.objects.values_list("pk", "not_before"))
    Delivery.objects.filter(pk=ours.rows[0].pk).update(lease_token=uuid.uuid4())
    time.sleep(0.03)
    ours.keep(ours.rows, outbox())
    after = dict(Delivery.objects.values_list("pk", "not_before"))
    assert after[ours.rows[0].pk] == before[ours.rows[0].pk]
    assert after[ours.rows[1].pk] > before[ours.rows[1].pk]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("workers", [2, 4])
def test_workers_side_by_side_never_take_the_same_row(workers: int) -> None:
    fill(200)
    everything = claimed_side_by_side(workers, lambda: claim(due(), limit=7, status="sending"))
    assert len(everything) == len(set(everything)) == 200
    assert set(Delivery.objects.values_list("attempts", flat=True)) == {1}


@pytest.mark.django_db(transaction=True)
def test_rows_that_another_worker_is_just_taking_are_passed_over() -> None:
    fill(300)
    if connection.vendor == "mysql":
        # Without statistics it may sort the table instead of following the index, and lock all that it sorts.
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE TABLE dsn_core_delivery")
            cursor.fetchall()
    _, found = claimed_meanwhile(
        lambda: claim(due(), limit=2, status="sending"), lambda: claim(due(), limit=10, status="sending")
    )
    assert [row.address for row in found] == [f"a{n}@b.c" for n in range(2, 12)]


@pytest.mark.django_db(transaction=True)
def test_two_processes_drain_one_database_without_an_error(child_environment) -> None:
    fill(150, messenger="console")
    command = [sys.executable, "-m", "django", "dsn_worker", "--once"]
    running = [
        subprocess.Popen(command, env=child_environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=200) for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    assert all(error == "" for _, error in outputs)
    printed = [line for out, _ in outputs for line in out.splitlines() if line.startswith("To: ")]
    assert sorted(printed) == sorted(f"To: a{n}@b.c" for n in range(150))
    assert set(Delivery.objects.values_list("status", "attempts")) == {("sent", 1)}


# The clock


def database_now() -> datetime:
    fill(1)
    return Delivery.objects.annotate(now=DatabaseNow()).values_list("now", flat=True)[0]


@pytest.mark.django_db
def test_the_databases_clock_is_read() -> None:
    assert abs(database_now() - datetime.now(UTC)) < timedelta(seconds=60)


@pytest.mark.django_db
@pytest.mark.parametrize("zone", ["+09:00", "-03:30"])
def test_the_time_zone_of_the_session_does_not_matter(zone: str) -> None:
    statement = {
        "mysql": f"SET SESSION time_zone = '{zone}'",
        "postgresql": f"SET LOCAL TIME ZONE INTERVAL '{zone}' HOUR TO MINUTE",
    }.get(connection.vendor)
    if statement is None:
        pytest.skip("SQLite has no sessions")
    with connection.cursor() as cursor:
        cursor.execute(statement)
    try:
        fill(3)
        assert abs(database_now() - datetime.now(UTC)) < timedelta(seconds=60)
        assert len(claim(due(), limit=10, status="sending").rows) == 4
    finally:
        if connection.vendor == "mysql":
            with connection.cursor() as cursor:
                cursor.execute("SET SESSION time_zone = 'SYSTEM'")


NAIVE = """
import datetime, django, os
from django.conf import settings
import tests.settings as base
names = {name: getattr(base, name) for name in dir(base) if name.isupper()}
databases = {"default": dict(base.DATABASES["default"])}
if ZONE := os.environ.get("CONNECTION_ZONE"):
    databases["default"]["TIME_ZONE"] = ZONE
settings.configure(**{**names, "USE_TZ": bool(ZONE), "TIME_ZONE": "Asia/Kathmandu", "DATABASES": databases})
django.setup()
from dsn_core.models import Delivery
from dsn_core.models.clock import DatabaseNow
from dsn_core.queue.claiming import claim
from django.utils import timezone
row = Delivery.objects.get()
now = Delivery.objects.annotate(now=DatabaseNow()).values_list("now", flat=True)[0]
assert abs((timezone.now() - now).total_seconds()) < 60, (timezone.now(), now)
Delivery.objects.update(not_before=timezone.now() + datetime.timedelta(minutes=1))
assert claim(Delivery.objects.all(), limit=1, status="sending") is None
Delivery.objects.update(not_before=timezone.now() - datetime.timedelta(seconds=1))
found = claim(Delivery.objects.all(), limit=1, status="sending")
row.refresh_from_db()
assert row.not_before == found.rows[0].not_before
print("fine")
"""


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("zone", ["", "America/St_Johns", "UTC"], ids=["without time zones", "far away", "named UTC"])
def test_the_clock_agrees_with_how_django_stores_moments(zone: str, child_environment) -> None:
    if zone and connection.vendor == "postgresql":
        pytest.skip("PostgreSQL keeps time zones itself")
    fill(1)
    environment = {name: value for name, value in child_environment.items() if name != "DJANGO_SETTINGS_MODULE"}
    # As Django does for settings that are a module.
    environment |= {"CONNECTION_ZONE": zone, "TZ": "Asia/Kathmandu"}
    done = subprocess.run([sys.executable, "-c", NAIVE], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "fine\n", done.stderr


def test_a_clock_is_carried_on_by_this_processs_own() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    clock = DatabaseClock(moment)
    time.sleep(0.01)
    assert moment < clock.now() < moment + timedelta(seconds=60)
    assert clock.now(after=60) - clock.now() > timedelta(seconds=30)


@pytest.mark.django_db
def test_a_wrong_clock_of_this_machine_changes_nothing(dsn, monkeypatch) -> None:
    from django.utils import timezone

    fill(2)
    Delivery.objects.filter(address="a1@b.c").update(not_before=datetime.now(UTC) + timedelta(minutes=5))
    monkeypatch.setattr(timezone, "now", lambda: datetime.now(UTC) + timedelta(minutes=10))
    with override_settings(DSN={"RUNNER": "worker"}):
        assert driver.drain(outbox()).deliveries == 1
    row = Delivery.objects.get(address="a0@b.c")
    assert abs(row.finished_at - datetime.now(UTC)) < timedelta(seconds=60)
