"""Several threads of a worker that send by one messenger: one prepares while another waits for the provider."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections
from django.db.backends.signals import connection_created

from dsn_core import BaseMessageTemplate, BaseMessenger, Receipt, emit
from dsn_core.fanout import expander
from dsn_core.models import Delivery, Trigger
from dsn_core.models.clock import DatabaseNow
from dsn_core.sending import sender
from dsn_core.sending.handing_over import ProviderConnections
from dsn_core.testing import MemoryMessenger
from tests.waiting import PATIENCE, wait_for
from tests.watching import watching

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]


class Told(BaseMessageTemplate):
    """Tells for whom it was rendered."""

    name = "told"
    text = "x"
    rendered: list[str] = []

    def get_template_context(self, context):
        self.rendered.append(context["user"].username)
        return context


class Provider(BaseMessenger):
    """A provider that answers from the second message on when the test lets it, one batch for each message."""

    name = "provider"
    batch_size = 1
    at_once = most_at_once = 0
    given: list[str] = []
    counting = threading.Lock()
    go_on = threading.Event()
    answer = staticmethod(lambda message: Receipt.sent(message=message))
    is_quick_first = True

    def send_messages(self, messages):
        cls = type(self)
        with cls.counting:
            cls.at_once += 1
            cls.most_at_once = max(cls.most_at_once, cls.at_once)
            cls.given.append(messages[0].user.username)
            is_first = len(cls.given) == 1
        if not (is_first and cls.is_quick_first):
            cls.go_on.wait(PATIENCE)
        with cls.counting:
            cls.at_once -= 1
        yield cls.answer(messages[0])


@pytest.fixture
def provider(
    signals: Any, people: list[Any], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[type[Provider]]:
    """The messenger, to which an event for ann, bob and cyd goes, in this order."""
    settings.DSN = {"RUNNER": "worker"}
    # Each claim is one message: otherwise a thread that is quick may claim bob's and cyd's together.
    monkeypatch.setattr(sender, "MOST_BATCHES", 1)
    # The first answer is quick on a busy machine, too: the second thread joins in.
    monkeypatch.setattr("dsn_core.runners.worker_threads.QUICK_SECONDS", PATIENCE)
    made = type("Made", (Provider,), {"name": "provider", "given": [], "go_on": threading.Event()})
    Told.rendered.clear()
    signals.add(made, Told)
    Trigger.objects.define("happened").subscribe("x", backends=[("provider", "told")], users=people)
    emit("happened")
    yield made
    made.go_on.set()


def rows() -> list[tuple[str, int]]:
    return list(Delivery.objects.order_by("id").values_list("status", "attempts"))


def test_the_next_batch_is_rendered_while_the_messenger_has_one_in_hand(provider) -> None:
    with watching():
        # Two threads prepare bob and cyd side by side: which of them is first, is not said.
        wait_for(lambda: len(provider.given) == 2 and sorted(Told.rendered) == ["ann", "bob", "cyd"])
        provider.go_on.set()
        wait_for(lambda: rows() == [("sent", 1)] * 3)
    assert (provider.given[0], sorted(provider.given)) == ("ann", ["ann", "bob", "cyd"])
    assert provider.most_at_once == 1, "the provider sees one connection"


def test_as_many_batches_are_in_hand_as_there_are_connections(provider, settings) -> None:
    settings.DSN = {"RUNNER": "worker", "MESSENGERS": {"provider": {"CONNECTIONS": 2}}}
    provider.is_quick_first = False
    emit("happened")
    with watching():
        wait_for(lambda: provider.at_once == 2)
        provider.go_on.set()
        wait_for(lambda: rows() == [("sent", 1)] * 6)
    assert provider.most_at_once == 2


def test_what_takes_long_is_not_claimed_before_its_time(provider, monkeypatch) -> None:
    """Another worker, which has a connection free, may take it."""
    monkeypatch.setattr("dsn_core.runners.worker_threads.POLL_SECONDS", 0.05)
    provider.is_quick_first = False
    with watching():
        wait_for(lambda: provider.given == ["ann"])
        time.sleep(0.5)
        assert rows() == [("sending", 1), ("pending", 0), ("pending", 0)]
        provider.go_on.set()
        wait_for(lambda: rows() == [("sent", 1)] * 3)


def test_a_batch_that_waits_keeps_its_lease(provider, settings) -> None:
    settings.DSN = {"RUNNER": "worker", "LEASE_SECONDS": 1}
    provider.is_quick_first = False
    expander.expand_due("default")
    shared = ProviderConnections()

    def work() -> None:
        try:
            sender.Sender("provider", "default", connections=shared).work()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(2)]
    threads[0].start()
    wait_for(lambda: provider.given == ["ann"])
    threads[1].start()
    wait_for(lambda: Told.rendered == ["ann", "bob"])
    time.sleep(1.5)
    assert Delivery.objects.get(user__username="bob", not_before__gt=DatabaseNow()).status == "sending"
    provider.go_on.set()
    for thread in threads:
        thread.join(30)
    assert rows() == [("sent", 1), ("sent", 1), ("pending", 0)]


def test_a_pause_holds_for_the_batch_that_waits(provider) -> None:
    provider.answer = staticmethod(
        lambda message: (
            Receipt.sent(message=message)
            if message.user.username == "ann"
            else Receipt.pause(60, reason="429", message=message)
        )
    )
    with watching():
        wait_for(lambda: len(provider.given) == 2 and sorted(Told.rendered) == ["ann", "bob", "cyd"])
        provider.go_on.set()
        wait_for(lambda: sorted(rows()) == [("pending", 0), ("retry", 0), ("sent", 1)])
        time.sleep(0.3)
    assert len(provider.given) == 2


def test_a_batch_that_waits_is_given_back_when_the_worker_is_to_end(provider) -> None:
    with watching() as worker:
        wait_for(lambda: len(provider.given) == 2 and sorted(Told.rendered) == ["ann", "bob", "cyd"])
        worker.stop()
        wait_for(lambda: ("pending", 0) in rows())
        provider.go_on.set()
    assert sorted(rows()) == [("pending", 0), ("sent", 1), ("sent", 1)]


def test_one_that_hangs_leaves_its_connection_to_the_batch_that_waits(provider, settings) -> None:
    settings.DSN = {"RUNNER": "worker", "LEASE_SECONDS": 2}
    hangs = threading.Event()

    def answer(message: Any) -> Receipt:
        if message.user.username == "bob":
            hangs.wait(30)
        return Receipt.sent(message=message)

    provider.answer = staticmethod(answer)
    provider.go_on.set()
    with watching():
        wait_for(lambda: [status for status, _ in rows()] == ["sent", "unknown", "sent"])
        hangs.set()
    assert sorted(provider.given) == ["ann", "bob", "cyd"]


def test_idle_threads_do_not_look(signals, subscribe, settings) -> None:
    """One of the threads of a messenger looks for work, however many there are."""
    looking: set[int] = set()

    def note(**given: Any) -> None:
        thread = threading.current_thread()
        if thread.name == "dsn messenger memory":
            looking.add(thread.ident or 0)

    settings.DSN = {"RUNNER": "worker", "MESSENGERS": {"memory": {"CONNECTIONS": 5}}}
    subscribe()
    emit("happened")
    signals.run()
    connection_created.connect(note)
    try:
        with watching():
            wait_for(lambda: looking)
            wait_for(lambda: [thread.name for thread in threading.enumerate()].count("dsn messenger memory") == 5)
            time.sleep(2.5)
    finally:
        connection_created.disconnect(note)
    assert len(looking) == 1


def test_who_has_nothing_to_overlap_has_no_thread_for_it(signals, settings) -> None:
    class Seed(BaseMessenger):
        name = "seed"

        def send(self, template, users, trigger_context, signal_kwargs):
            return None

    signals.add(Seed)
    messengers = {"slow": {"MESSENGER": "memory", "RATE": "1/s"}, "wide": {"MESSENGER": "memory", "CONNECTIONS": 3}}
    settings.DSN = {"RUNNER": "worker", "MESSENGERS": messengers}
    assert MemoryMessenger.name == "memory"
    found = {alias: sender.threads_of(alias) for alias in ("memory", "slow", "wide", "seed", "unknown")}
    assert found == {"memory": (2, 1), "slow": (1, 1), "wide": (3, 3), "seed": (1, 1), "unknown": (1, 1)}
