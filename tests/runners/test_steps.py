"""The steps of the pipeline as runners of plugins take them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

import dsn_core
from dsn_core import Receipt, emit
from dsn_core.models import Delivery, Event, MessengerState
from dsn_core.models.clock import DatabaseNow
from dsn_core.testing import MemoryMessenger
from dsn_core.triggers.dispatch import trigger_cache

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _workers_runner(settings: Any) -> None:
    settings.DSN = {"RUNNER": "worker"}


def test_step_by_step(signals, subscribe, django_assert_num_queries) -> None:
    subscribe()
    for _ in range(60):
        emit("happened")
    assert dsn_core.due_messengers() == []
    assert dsn_core.expand_due() == 60, "more than one claim takes"
    with django_assert_num_queries(2):
        assert dsn_core.due_messengers() == ["memory"]
    assert dsn_core.send_due("memory") == 60
    assert len(signals.sent) == 60
    assert (dsn_core.expand_due("default"), dsn_core.send_due("memory", "default")) == (0, 0)
    assert dsn_core.due_messengers("default") == []


def test_what_was_begun_is_finished_and_the_rest_stays_due(signals, subscribe) -> None:
    subscribe()
    for _ in range(3):
        emit("happened")
    assert dsn_core.expand_due(seconds=0) == 0
    assert Event.objects.filter(attempts=0).count() == 3
    dsn_core.expand_due()
    assert dsn_core.send_due("memory", seconds=0) == 0
    assert Delivery.objects.filter(attempts=0, not_before__lte=DatabaseNow()).count() == 3


def test_a_messenger_that_pauses_is_not_due(signals, subscribe) -> None:
    subscribe()
    emit("happened")
    dsn_core.expand_due()
    MessengerState.objects.update(paused_until=timezone.now() + timedelta(hours=1))
    assert dsn_core.due_messengers() == []
    assert dsn_core.send_due("memory") == 0
    MessengerState.objects.update(paused_until=timezone.now() - timedelta(hours=1))
    assert dsn_core.due_messengers() == ["memory"]


def test_what_waits_for_its_next_attempt_is_not_due(signals, subscribe) -> None:
    subscribe()
    MemoryMessenger.answer = lambda message: Receipt.retry(after=100, reason="busy")
    emit("happened")
    dsn_core.expand_due()
    assert dsn_core.send_due("memory") == 1
    assert dsn_core.due_messengers() == []


def test_a_rate_is_waited_for_while_there_is_time(signals, subscribe, settings) -> None:
    settings.DSN = {"RUNNER": "worker", "MESSENGERS": {"memory": {"RATE": "20/s"}}}
    subscribe()
    for _ in range(12):
        emit("happened")
    dsn_core.expand_due()
    assert dsn_core.send_due("memory") == 12
    settings.DSN = {"RUNNER": "worker", "MESSENGERS": {"memory": {"RATE": "1/h"}}}
    for _ in range(2):
        emit("happened")
    dsn_core.expand_due()
    assert dsn_core.send_due("memory", seconds=5) == 1, "the second would have to wait for an hour"
    assert dsn_core.due_messengers() == ["memory"], "as far as anybody can tell without trying"


@pytest.mark.parametrize("step", [dsn_core.expand_due, lambda: dsn_core.send_due("memory")], ids=["expand", "send"])
def test_a_step_follows_the_triggers(signals, subscribe, settings, step: Any) -> None:
    """The process of a runner may have nobody else who looks."""
    settings.DSN = {"RUNNER": "worker", "REFRESH_SECONDS": 0}
    subscribe()
    trigger_cache.forget()
    step()
    emit("happened")
    assert Event.objects.count() == 1
