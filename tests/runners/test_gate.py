"""The gate before the messengers: a message that outlasts its lease is handed over once, and by its new owner."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections

import dsn_core
from dsn_core import BaseMessageTemplate, BaseMessenger, BaseReceiverFilter, Receipt, emit
from dsn_core.fanout import expander
from dsn_core.models import Delivery
from dsn_core.models.clock import DatabaseNow
from dsn_core.runners import driver
from dsn_core.runners.worker import Worker
from dsn_core.sending import sender
from tests.waiting import PATIENCE, wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

LEASE = 0.8


class Counting(BaseMessenger):
    """Counts the messages that it is given."""

    name = "counting"
    handed_over: Counter[str] = Counter()

    def send_messages(self, messages):
        for message in messages:
            self.handed_over[message.user.username] += 1
            yield Receipt.sent(message=message)


class CountingSeed(BaseMessenger):
    """The same, the seed's way. It forgives what is wrong with one user, and goes on with the next."""

    name = "counting_seed"
    handed_over: Counter[str] = Counter()

    def send(self, template, users, trigger_context, signal_kwargs):
        for user in users:
            try:
                template.render(user=user, trigger_context=trigger_context, signal_kwargs=signal_kwargs)
            except Exception:  # noqa: S112 - what such messengers do
                continue
            self.handed_over[user.username] += 1


WAYS = {"usual": Counting, "seed": CountingSeed}


class Slow:
    """What a filter or a template calls: ``act()`` is called once, for the user that ``when`` names."""

    def __init__(self) -> None:
        self.when = ""
        self.act: Callable[[], Any] = lambda: None
        self._is_done = False

    def __call__(self, username: str) -> None:
        if not self._is_done and username == self.when:
            self._is_done = True
            self.act()


@pytest.fixture
def slow(signals: Any) -> Slow:
    made = Slow()

    class SlowTemplate(BaseMessageTemplate):
        name = "slow_template"
        text = "x"

        def get_template_context(self, context):
            made(context["user"].username)
            return context

    class SlowFilter(BaseReceiverFilter):
        name = "slow_filter"

        def exclude(self, deliveries):
            made("filter")
            return {}

    for cls in WAYS.values():
        cls.handed_over.clear()
    signals.add(SlowTemplate, SlowFilter, *WAYS.values())
    return made


def in_a_thread(function: Callable[[], Any]) -> None:
    """Another worker, to its end."""

    def work() -> None:
        try:
            function()
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def subscribe(messenger: str, people: list[Any]) -> None:
    from dsn_core.models import Trigger

    Trigger.objects.define("happened").subscribe("x", backends=[(messenger, "slow_template")], users=people)


def statuses() -> list[str]:
    return list(Delivery.objects.order_by("id").values_list("status", flat=True))


RUNNERS: dict[str, Callable[[str], Any]] = {
    "immediate": lambda messenger: None,
    "drain": lambda messenger: driver.drain("default"),
    "send_due": lambda messenger: (dsn_core.expand_due(), dsn_core.send_due(messenger)),
}


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize(("way", "when"), [("usual", "cyd"), ("usual", "filter"), ("seed", "ann"), ("seed", "filter")])
def test_what_outlasts_its_lease_is_handed_over_by_who_took_it(way, when, runner, slow, people, settings):
    settings.DSN = {"RUNNER": "immediate" if runner == "immediate" else "worker", "LEASE_SECONDS": LEASE}
    cls = WAYS[way]
    subscribe(cls.name, people)

    def another_takes_over() -> None:
        time.sleep(LEASE + 0.1)
        in_a_thread(sender.Sender(cls.name, "default").work)

    slow.when, slow.act = when, another_takes_over
    emit("happened")
    RUNNERS[runner](cls.name)
    assert cls.handed_over == {"ann": 1, "bob": 1, "cyd": 1}
    assert statuses() == ["sent"] * 3


@pytest.mark.parametrize(("way", "when"), [("usual", "cyd"), ("seed", "ann")])
def test_what_outlasts_its_lease_and_nobody_took_is_handed_over(way, when, slow, people, settings):
    settings.DSN = {"RUNNER": "worker", "LEASE_SECONDS": LEASE}
    cls = WAYS[way]
    subscribe(cls.name, people)
    slow.when, slow.act = when, lambda: time.sleep(LEASE + 0.1)
    emit("happened")
    driver.drain("default")
    assert cls.handed_over == {"ann": 1, "bob": 1, "cyd": 1}
    assert set(Delivery.objects.values_list("status", "attempts")) == {("sent", 1)}


@pytest.fixture
def block() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize(("way", "when"), [("usual", "cyd"), ("usual", "filter"), ("seed", "ann"), ("seed", "filter")])
def test_what_the_watcher_gave_up_is_not_handed_over_by_the_thread_that_comes_back(
    way, when, slow, people, settings, block
):
    settings.DSN = {"RUNNER": "worker", "LEASE_SECONDS": 2}
    cls = WAYS[way]
    subscribe(cls.name, people)
    slow.when, slow.act = when, lambda: block.wait(PATIENCE)
    emit("happened")
    worker = Worker("default")
    thread = threading.Thread(target=lambda: (worker.watch(), connections.close_all()))
    thread.start()
    try:
        wait_for(lambda: statuses() == ["retry"] * 3, statuses)
        block.set()
        time.sleep(0.5)
        assert cls.handed_over == {}
        Delivery.objects.update(not_before=DatabaseNow())
        wait_for(lambda: statuses() == ["sent"] * 3, statuses)
    finally:
        worker.stop()
        thread.join(PATIENCE)
    assert cls.handed_over == {"ann": 1, "bob": 1, "cyd": 1}


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_handed_over_late_in_a_lease_that_the_database_does_not_renew(
    way, slow, people, settings, monkeypatch, caplog
):
    """Nothing was sent yet: the next worker has a whole lease for it."""
    from dsn_core.queue.claiming import Claim

    settings.DSN = {"RUNNER": "worker", "LEASE_SECONDS": LEASE}
    cls = WAYS[way]
    subscribe(cls.name, people[:1])
    renew = Claim._renew
    slow.when = "ann"

    def break_and_sleep() -> None:
        monkeypatch.setattr(Claim, "_renew", lambda *given: None)
        time.sleep(LEASE * 0.8)

    slow.act = break_and_sleep
    emit("happened")
    expander.expand_due("default")
    sender.Sender(cls.name, "default").work()
    assert (cls.handed_over, statuses()) == ({}, ["pending"])
    monkeypatch.setattr(Claim, "_renew", renew)
    driver.drain("default")
    assert (cls.handed_over, statuses()) == ({"ann": 1}, ["sent"])
