"""Workers are killed: rows 1, 2, 14 and 17 of the reliability list."""

from __future__ import annotations

import random
import signal
import time

import pytest
from django.db import connection

from dsn_core.models import Delivery, DeliveryPage, Event, Trigger
from dsn_core.models.clock import DatabaseNow
from tests.waiting import wait_for

pytestmark = pytest.mark.django_db(transaction=True)

BATCH = 100


@pytest.mark.everywhere
@pytest.mark.timeout(1_800)
def test_01_kill_9_at_random_points(full, audience, stage, workers, provider, figure):
    kills, number = (100, 10_000) if full else (5, 800)
    at_once = 1 if connection.vendor == "sqlite" else 2
    audience(number)
    stage("file")
    # So slow that all kills find something to interrupt.
    slow = {"FAULTS_SECONDS": str(0.002 if full else 0.004)}
    running = [workers.start(**slow) for _ in range(at_once)]
    killed = 0
    seed = time.time_ns()
    chance = random.Random(seed)  # noqa: S311 - no secret
    while killed < kills:
        before = len(provider)
        # After it has begun to work, or some time later.
        wait_for(lambda before=before: len(provider) > before or not _open())
        time.sleep(chance.uniform(0, 0.3))
        workers.kill(running.pop(0))
        killed += 1
        running.append(workers.start(**slow))
    wait_for(lambda: not _open(), seconds=600)
    for process in running:
        # One that was started a moment ago may not hear the signal yet; it has nothing to finish.
        assert workers.stop(process) in (0, -signal.SIGTERM)
    counts = provider.counts()
    lost = number - len(counts)
    doubled = sum(counts.values()) - len(counts)
    statuses = set(Delivery.objects.values_list("status", flat=True))
    figure(f"{killed} kills, {number:,} deliveries: {lost} lost, {doubled} doubled (bound {killed * BATCH:,})")
    event = Event.objects.get()
    assert lost == 0, f"seed {seed}; {event.status}, {event.found} found: {event.last_error}"
    assert doubled <= killed * BATCH
    assert statuses == {"sent"}, f"seed {seed}"


def _open() -> bool:
    """Whether anything is left to be done."""
    return not Event.objects.filter(not_before__isnull=True).exists() or Delivery.objects.unfinished().exists()


@pytest.mark.everywhere
@pytest.mark.parametrize(("fault", "most"), [("die-before-send", 1), ("die-after-send", 2)])
def test_02_killed_around_the_send(fault, most, audience, stage, workers, provider, figure):
    audience(1)
    stage("file")
    process = workers.start(FAULTS=fault)
    assert process.wait(60) == -9, workers.log
    wait_for(lambda: not Delivery.objects.unfinished().exists() or _due())
    workers.finish()
    counts = provider.counts()
    delivery = Delivery.objects.get()
    figure(f"{fault.replace('-', ' ')}: sent {sum(counts.values())} times, under {len(counts)} id")
    assert (delivery.status, delivery.attempts) == ("sent", 2)
    assert counts == {delivery.message_id: most}


def _due() -> bool:
    return Delivery.objects.filter(not_before__lte=DatabaseNow()).exists()


@pytest.mark.timeout(300)
def test_14_a_row_that_kills_its_process_dies_at_last(audience, stage, workers, provider, figure, environment):
    people = audience(30)
    stage("file")
    limits = {"FAULTS_DSN": '{"LEASE_SECONDS": 0.5, "MAX_ATTEMPTS": 4}', "FAULTS_TEMPLATE_DIES_FOR": people[7].username}
    deaths = 0
    for _ in range(40):
        process = workers.start("--once", **limits)
        if process.wait(60) == 0 and not Delivery.objects.unfinished().exists():
            break
        deaths += process.returncode == -9
        time.sleep(0.6)
    row = Delivery.objects.get(user=people[7])
    others = Delivery.objects.exclude(user=people[7])
    figure(f"{deaths} processes died of it; it {row.status} after {row.attempts - 1} attempts, {others.count()} sent")
    assert row.status == "failed"
    assert "may be what ends workers" in row.last_error
    assert set(others.values_list("status", flat=True)) == {"sent"}
    assert deaths == 4
    assert set(provider.counts().values()) == {1}


@pytest.mark.everywhere
@pytest.mark.timeout(300)
def test_17_killed_in_the_middle_of_a_fan_out(full, audience, stage, workers, provider, figure):
    number = 10_000 if full else 2_000
    audience(number)
    stage("file", resolver="everybody")
    faults = ",".join(f"die-in-fan-out-{thousand}" for thousand in range(number // 1_000))
    lease = {"FAULTS_DSN": '{"LEASE_SECONDS": 6}'}
    deaths = 0
    while (process := workers.start("--once", FAULTS=faults, **lease)).wait(120) == -9:
        deaths += 1
        # The lease is ended, so that the test need not wait.
        Event.objects.update(not_before=DatabaseNow())
    assert process.returncode == 0, workers.log
    # What was claimed by those that died.
    for model in (Delivery, DeliveryPage):
        model._base_manager.filter(not_before__isnull=False).update(not_before=DatabaseNow())
    workers.finish()
    counts = provider.counts()
    figure(f"{deaths} kills, {number:,} receivers: {number - len(counts)} missing, {_doubled(counts)} twice")
    assert deaths == number // 1_000
    assert Event.objects.get().status == "expanded"
    assert len(counts) == Delivery.objects.count() == number
    # Messages that were being sent when the process died may have come twice, but no user has two deliveries.
    assert Delivery.objects.values("user").distinct().count() == number
    assert Trigger.objects.count() == 1


def _doubled(counts) -> int:
    return sum(counts.values()) - len(counts)
