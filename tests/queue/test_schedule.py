"""Looking ahead: what is due is found from the deliveries themselves, and idle looks are cheap."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from django.db import connection, connections

import dsn_core
from dsn_core import emit
from dsn_core.fanout import expander
from dsn_core.models import Delivery, MessengerState
from dsn_core.models.clock import DatabaseNow
from dsn_core.queue import schedule
from dsn_core.queue.schedule import Due
from dsn_core.runners import driver
from dsn_core.runners.worker import Worker
from dsn_core.testing import MemoryMessenger

pytestmark = pytest.mark.django_db


def leave_without_state(*known: str) -> None:
    """Deliveries are due, as after a restore: their messenger's state is missing, those of ``known`` are there."""
    emit("happened")
    expander.expand_due("default")
    MessengerState.objects.all().delete()
    MessengerState.objects.bulk_create(MessengerState(messenger=name) for name in known)


def statuses() -> list[str]:
    return list(Delivery.objects.order_by("id").values_list("status", flat=True))


KNOWN = [(), ("alpha",), ("zulu",), ("alpha", "zulu"), ("Alpha", "memo", "memory2", "zulu")]


@pytest.mark.parametrize("known", KNOWN, ids=" ".join)
def test_due_work_is_found_without_its_messenger_state(known, signals, subscribe, people) -> None:
    subscribe(users=people)
    leave_without_state(*known)
    assert driver.drain("default").deliveries == 3
    assert statuses() == ["sent"] * 3
    assert set(MessengerState.objects.values_list("messenger", flat=True)) == {*known, "memory"}


@pytest.mark.parametrize("known", KNOWN, ids=" ".join)
def test_runners_of_plugins_find_it_as_well(known, signals, subscribe, people) -> None:
    subscribe(users=people)
    leave_without_state(*known)
    assert dsn_core.due_messengers() == ["memory"]
    assert dsn_core.send_due("memory") == 3


@pytest.mark.django_db(transaction=True)
def test_a_worker_finds_it_as_well(signals, subscribe, people) -> None:
    subscribe(users=people)
    leave_without_state("alpha")
    assert Worker("default").drain().deliveries == 3


def test_one_messenger_after_the_other_is_found(signals, subscribe, people) -> None:
    signals.add(type("Other", (MemoryMessenger,), {"name": "other"}))
    subscribe(users=people, backends=[("memory", "plain"), ("other", "plain")])
    leave_without_state()
    assert schedule.make_missing_known("default")
    assert list(MessengerState.objects.values_list("messenger", flat=True)) == ["memory", "other"]
    assert not schedule.make_missing_known("default")


def test_looking_for_it_is_two_queries_that_follow_the_index(
    signals, subscribe, people, django_assert_num_queries
) -> None:
    subscribe(users=people)
    emit("happened")
    signals.run()
    MessengerState.objects.bulk_create(MessengerState(messenger=f"m{number}") for number in range(5))
    with django_assert_num_queries(2) as captured:
        assert not schedule.make_missing_known("default")
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {captured[1]['sql']}")
            read = [row[3] for row in cursor.fetchall() if "dsn_core_delivery" in row[3]]
        assert len(read) == 14
        assert sum("INDEX dsn_delivery_claim" in step for step in read) == 7
        assert sum("INDEX dsn_page_claim" in step for step in read) == 7


def test_an_idle_look_is_one_query(signals, subscribe, people, django_assert_num_queries) -> None:
    from dsn_core.sending.sender import Sender

    subscribe(users=people)
    emit("happened")
    signals.run()
    with django_assert_num_queries(1):
        assert Sender("memory", "default").work().done == 0


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({}, [Due(1, is_page=False)]),
        ({"priority": 0}, [Due(0, is_page=False)]),
        ({"priority": 2}, [Due(2, is_page=False)]),
        ({"not_before": None}, []),
        ({"not_before": "later"}, []),
        ({"messenger": "other"}, []),
    ],
)
def test_what_is_work(values: dict[str, Any], found: list[Due], signals, subscribe, people) -> None:
    import datetime

    from django.utils import timezone

    subscribe(users=people)
    emit("happened")
    expander.expand_due("default")
    if values.get("not_before") == "later":
        values = {"not_before": timezone.now() + datetime.timedelta(hours=1)}
    Delivery.objects.update(**{"not_before": DatabaseNow(), **values})
    assert schedule.look("memory", "default") == schedule.Look(found, is_doubted=False)


@pytest.mark.django_db(transaction=True)
def test_idle_workers_make_no_messenger(signals, subscribe, people, monkeypatch) -> None:
    monkeypatch.setattr("dsn_core.runners.worker_threads.POLL_SECONDS", 0.05)
    made: list[str] = []

    class Costly(MemoryMessenger):
        name = "costly"

        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            made.append("one")

    signals.add(Costly)
    subscribe(users=people, backends=[("costly", "plain")])
    emit("happened")
    signals.run()
    made.clear()
    worker = Worker("default")
    thread = threading.Thread(target=lambda: (worker.watch(), connections.close_all()))
    thread.start()
    time.sleep(1)
    worker.stop()
    thread.join(30)
    assert made == []
