"""Several workers, stopped and slowed ones: rows 5, 6, 8 and 20."""

from __future__ import annotations

import json
import signal
import time

import pytest

from dsn_core.models import Delivery
from tests.waiting import wait_for

pytestmark = pytest.mark.django_db(transaction=True)


def open_rows() -> int:
    return Delivery.objects.unfinished().count()


@pytest.mark.timeout(900)
def test_05_four_workers_and_no_faults(full, audience, stage, workers, provider, figure):
    number = 50_000 if full else 4_000
    audience(number)
    patient = {"FAULTS_DSN": json.dumps({"LEASE_SECONDS": 60}), "FAULTS_SECONDS": "0.001"}
    running = [workers.start(**patient) for _ in range(4)]
    # All stand ready before there is anything to do.
    wait_for(lambda: workers.log.count("Watching for work") == 4)
    stage("file")
    wait_for(lambda: Delivery.objects.filter(status="sent").count() == number, seconds=600)
    for process in running:
        assert workers.stop(process) == 0
    taken = provider.taken()
    by_process = {item.pid for item in taken}
    doubled = len(taken) - len(provider.counts())
    figure(f"{number:,} deliveries by {len(by_process)} workers: {doubled} doubled, {open_rows()} open")
    assert doubled == 0
    assert len(taken) == number
    assert len(by_process) == 4, "all had their share"


def test_06_a_worker_stopped_past_its_lease(audience, stage, workers, provider, figure):
    audience(40)
    stage("file")
    first = workers.start(FAULTS_SECONDS="0.05")
    wait_for(lambda: len(provider) >= 5)
    first.send_signal(signal.SIGSTOP)
    # Its lease of two seconds ends; the other takes over.
    second = workers.start()
    wait_for(lambda: not open_rows())
    before = dict(Delivery.objects.values_list("pk", "finished_at"))
    first.send_signal(signal.SIGCONT)
    wait_for(lambda: "taken over by another worker" in workers.log)
    time.sleep(0.5)
    assert dict(Delivery.objects.values_list("pk", "finished_at")) == before
    assert {workers.stop(first), workers.stop(second)} == {0}
    late = sum(provider.counts().values()) - 40
    figure(f"settling refused; {late} of a batch of 40 came twice")
    assert set(Delivery.objects.values_list("status", flat=True)) == {"sent"}
    # It stops at the first message after it finds out.
    assert late <= 8


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_08_asked_to_end(number, audience, stage, workers, provider, figure):
    audience(300)
    stage("file")
    process = workers.start(FAULTS_SECONDS="0.02")
    wait_for(lambda: len(provider) >= 20)
    asked = time.monotonic()
    process.send_signal(number)
    assert process.wait(20) == 0, workers.log
    seconds = time.monotonic() - asked
    rows = list(Delivery.objects.values_list("status", "attempts"))
    sent = rows.count(("sent", 1))
    figure(f"{number.name}: ended in {seconds:.1f} s, {sent} sent, {rows.count(('pending', 0))} given back")
    assert len(provider) == sent
    assert rows.count(("pending", 0)) == 300 - sent
    workers.finish()
    assert set(provider.counts().values()) == {1}
    assert set(Delivery.objects.values_list("status", "attempts")) == {("sent", 1)}


def test_20_clocks_ten_minutes_apart(audience, stage, workers, provider, figure):
    audience(600)
    stage("file")
    lease = {"FAULTS_DSN": json.dumps({"LEASE_SECONDS": 20})}
    # Each would find the other's leases over, or its retries due, by its own clock.
    early = workers.start(FAULTS_CLOCK="-600", FAULTS_SECONDS="0.005", **lease)
    late = workers.start(FAULTS_CLOCK="600", FAULTS_SECONDS="0.005", **lease)
    wait_for(lambda: Delivery.objects.filter(status="sent").count() == 600)
    assert {workers.stop(early), workers.stop(late)} == {0}
    clocks = [item.at - time.time() for item in provider.taken()]
    figure(f"clocks {(max(clocks) - min(clocks)) / 60:.0f} min apart: {len(clocks) - 600} doubled, none early")
    assert max(clocks) - min(clocks) > 1_000, "both sent, each by its own clock"
    assert len(clocks) == 600
    assert set(Delivery.objects.values_list("attempts", flat=True)) == {1}
