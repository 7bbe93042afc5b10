"""Workers show that they are there; where none does and something is due, that is said."""

from __future__ import annotations

import os
from datetime import timedelta
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

import dsn_core
from dsn_core import emit
from dsn_core.checks import deployment
from dsn_core.models import Delivery, Event, MessengerState, WorkerHeartbeat
from dsn_core.models.clock import DatabaseNow
from dsn_core.queue import standstill
from dsn_core.runners import heartbeat
from dsn_core.runners.heartbeat import Heartbeat
from dsn_core.runners.worker import Worker

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _workers_runner(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.DSN = {"RUNNER": "worker"}
    monkeypatch.setattr(heartbeat, "_by_process", {})


def due_for(model: type[Any], **span: float) -> None:
    model.objects.filter(not_before__isnull=False).update(not_before=DatabaseNow() - timedelta(**span))


def seen(**span: float) -> None:
    WorkerHeartbeat.objects.all().delete()
    WorkerHeartbeat.objects.create(host="h", process=1, seen_at=DatabaseNow() - timedelta(**span))


# The signs of life


def test_a_worker_leaves_its_row(signals, subscribe) -> None:
    subscribe()
    emit("happened")
    Worker("default").drain()
    (row,) = WorkerHeartbeat.objects.all()
    assert (row.process, bool(row.host), row.version) == (os.getpid(), True, heartbeat._version())
    assert row.version
    assert row.seen_at >= row.started_at


def test_it_beats_now_and_then(db, django_assert_num_queries, monkeypatch) -> None:
    moments = iter([100.0, 109.0, 111.0, 112.0])
    monkeypatch.setattr(heartbeat, "time", SimpleNamespace(monotonic=lambda: next(moments)))
    heart = Heartbeat("default")
    heart.beat()
    first = WorkerHeartbeat.objects.get()
    with django_assert_num_queries(0):
        heart.beat()
    with django_assert_num_queries(1):
        heart.beat()
    again = WorkerHeartbeat.objects.get()
    assert (again.pk, again.started_at) == (first.pk, first.started_at)
    assert again.seen_at > first.seen_at
    with django_assert_num_queries(0):
        heart.beat()


def test_a_row_that_was_taken_away_comes_back(db, monkeypatch) -> None:
    monkeypatch.setattr(heartbeat, "SECONDS", 0)
    heart = Heartbeat("default")
    heart.beat()
    WorkerHeartbeat.objects.all().delete()
    heart.beat()
    assert WorkerHeartbeat.objects.count() == 1


def test_a_new_process_replaces_its_row_and_old_rows_are_deleted(db) -> None:
    WorkerHeartbeat.objects.create(host="long gone", process=1, seen_at=DatabaseNow() - timedelta(hours=2))
    WorkerHeartbeat.objects.create(host="gone", process=1, seen_at=DatabaseNow() - timedelta(minutes=50))
    Heartbeat("default").beat()
    Heartbeat("default").beat()
    assert set(WorkerHeartbeat.objects.values_list("host", flat=True)) == {"gone", heartbeat.socket.gethostname()}


def test_its_errors_affect_nothing_else(db, monkeypatch) -> None:
    monkeypatch.setattr(WorkerHeartbeat._meta, "db_table", "not_there")
    Heartbeat("default").beat()
    assert User.objects.count() == 0


@pytest.mark.parametrize("step", [dsn_core.expand_due, lambda: dsn_core.send_due("memory")], ids=["expand", "send"])
def test_workers_of_other_queues_beat_too(signals, step: Any) -> None:
    step()
    assert WorkerHeartbeat.objects.get().process == os.getpid()


# Nobody is there


def test_an_event_that_no_worker_takes(signals, subscribe) -> None:
    subscribe()
    emit("happened")
    assert standstill.find("default") is None, "it was due a moment ago"
    due_for(Event, hours=3)
    found = standstill.find("default")
    assert found is not None
    assert (found.late // timedelta(hours=1), found.unseen) == (3, None)
    seen(seconds=5)
    assert standstill.find("default") is None, "a worker is there"
    seen(hours=2)
    found = standstill.find("default")
    assert found is not None
    assert found.unseen is not None
    assert found.unseen // timedelta(minutes=1) in (119, 120)
    Event.objects.update(not_before=None)
    assert standstill.find("default") is None, "nothing is due"


def test_looking_costs_one_query_while_a_worker_is_there(db, django_assert_num_queries) -> None:
    with django_assert_num_queries(3):
        standstill.find("default")
    seen(seconds=1)
    with django_assert_num_queries(1):
        standstill.find("default")


def test_a_delivery_that_no_worker_takes_and_what_waits_on_purpose(signals, subscribe) -> None:
    subscribe()
    emit("happened")
    dsn_core.expand_due()
    seen(hours=1)
    due_for(Delivery, minutes=5)
    assert standstill.find("default") is not None
    MessengerState.objects.update(paused_until=DatabaseNow() + timedelta(hours=1))
    assert standstill.find("default") is None, "its messenger pauses"
    MessengerState.objects.update(paused_until=None)
    Delivery.objects.update(not_before=DatabaseNow() + timedelta(hours=1))
    assert standstill.find("default") is None, "it is to be tried again later"


# Where it is said


@pytest.fixture
def stuck(signals: Any, subscribe: Any) -> None:
    subscribe()
    emit("happened")
    due_for(Event, hours=3)


@pytest.mark.parametrize(
    ("runner", "way_out"),
    [("worker", "dsn_worker"), ("immediate", "dsn_worker"), ("tasks", "that execute the tasks of the runner 'tasks'")],
)
def test_the_deploy_check_says_it(stuck, settings, runner, way_out) -> None:
    settings.DSN = {"RUNNER": runner}
    assert "dsn.W046" not in {item.id for item in run_checks()}
    (found,) = [item for item in run_checks(include_deployment_checks=True) if item.id == "dsn.W046"]
    assert found.msg.startswith("Messages wait for 3 hours, and no worker was ever seen: nothing is sent")
    assert way_out in str(found.hint)
    assert deployment.check_running(databases=["other"]) == []
    seen(days=3)
    (found,) = deployment.check_running(databases=["default"])
    assert "no worker was seen for 3 days" in found.msg
    seen(seconds=1)
    assert deployment.check_running() == []


def plugins(*options: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("dsn_plugins", *options, stdout=out)
    except SystemExit as end:
        return int(str(end.code)), " ".join(out.getvalue().split())
    return 0, " ".join(out.getvalue().split())


def test_dsn_plugins_says_it(stuck) -> None:
    status, output = plugins("--check")
    assert status == 1
    assert "Messages wait for 3 hours, and no worker was ever seen" in output
    assert "Messages wait" not in plugins()[1]


def test_without_tables_nothing_is_said(monkeypatch) -> None:
    monkeypatch.setattr(Event._meta, "db_table", "not_there")
    assert deployment.check_running(databases=["default"]) == []
    assert User.objects.count() == 0, "the connection still works"


@pytest.mark.parametrize("model", ["event", "delivery", "messengerstate", "workerheartbeat"])
def test_the_admin_says_it(stuck, client: Client, model: str) -> None:
    client.force_login(User.objects.create_superuser("root"))
    address = reverse(f"admin:dsn_core_{model}_changelist")
    said = "Messages have been waiting for 3\xa0hours, and nothing is sent. No worker was ever seen."
    assert said in client.get(address).content.decode()
    event = reverse("admin:dsn_core_event_change", args=[Event.objects.get().pk])
    assert client.get(event).content.decode().count(said) == 1
    seen(hours=5)
    assert "No worker was seen for 5\xa0hours." in client.get(address).content.decode()
    seen(seconds=1)
    assert "nothing is sent" not in client.get(address).content.decode()
