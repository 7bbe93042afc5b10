"""The worker's threads, in this process: what is slow, hangs or breaks holds up nobody else."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from dsn_core import BaseReceiverFilter, BaseReceiverResolver, Receipt, emit
from dsn_core.fanout import expander
from dsn_core.models import Delivery, Event, MessengerState
from dsn_core.runners import notices
from dsn_core.runners.worker import Worker
from dsn_core.testing import MemoryMessenger
from tests.waiting import PATIENCE, wait_for
from tests.watching import watching

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def _short_lease(settings: Any) -> None:
    settings.DSN = {"RUNNER": "worker", "LEASE_SECONDS": 2}


@pytest.fixture
def block() -> Iterator[threading.Event]:
    """What a messenger that hangs waits for. Set at the end, so that its thread ends as well."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def hanging(signals: Any, block: threading.Event) -> type[MemoryMessenger]:
    """A messenger that sends the first of its messages and hangs at the second."""

    class Hanging(MemoryMessenger):
        name = "hanging"

        def send_messages(self, messages):
            yield Receipt.sent("first", message=messages[0])
            block.wait(PATIENCE)
            for message in messages[1:]:
                yield Receipt.sent("too late", message=message)

    signals.add(Hanging)
    return Hanging


def statuses(messenger: str) -> list[str]:
    return list(Delivery.objects.filter(messenger=messenger).order_by("id").values_list("status", flat=True))


@pytest.mark.parametrize(("retries", "left"), [(False, "unknown"), (True, "retry")])
def test_a_messenger_that_hangs_is_given_up_by_its_policy(subscribe, hanging, people, block, caplog, retries, left):
    hanging.retry_unknown = retries
    subscribe("hanging", users=people)
    emit("happened")
    with watching():
        wait_for(lambda: left in statuses("hanging"))
        assert statuses("hanging") == ["sent", left, left]
        row = Delivery.objects.filter(status=left).first()
        assert row is not None
        assert "gave no sign of life" in row.last_error
        # What it says when it comes back after all is refused.
        block.set()
        time.sleep(0.3)
    assert statuses("hanging") == ["sent", left, left]
    assert "The messenger hanging is given up after" in caplog.text
    assert Delivery.objects.filter(provider_id="too late").count() == 0


def test_what_hangs_before_its_messenger_has_it_was_not_sent(subscribe, signals, people, block):
    class Hangs(BaseReceiverFilter):
        """Hangs."""

        def exclude(self, deliveries):
            block.wait(PATIENCE)
            return {}

    signals.add(Hangs)
    subscribe("memory", users=people)
    emit("happened")
    with watching():
        wait_for(lambda: statuses("memory") == ["retry"] * 3)
    assert set(Delivery.objects.values_list("attempts", "last_error")) == {
        (1, "It hung before it was given to its messenger.")
    }


def test_a_messenger_that_hangs_holds_up_no_other(subscribe, hanging, people, settings, monkeypatch):
    settings.DSN = {"RUNNER": "worker", "LEASE_SECONDS": 300}
    subscribe("hanging", users=people)
    subscribe("memory", users=people)
    emit("happened")
    with watching():
        wait_for(lambda: statuses("memory") == ["sent"] * 3)
        wait_for(lambda: statuses("hanging") == ["sending"] * 3)
        emit("happened")
        wait_for(lambda: statuses("memory") == ["sent"] * 6)
        # Time is up for it when the worker is to end; the claim is settled, and not left to its lease.
        monkeypatch.setattr("dsn_core.runners.worker.GRACE_SECONDS", 0.5)
    assert statuses("hanging")[:3] == ["sent", "unknown", "unknown"]


def test_a_resolver_that_hangs_holds_up_no_messenger(subscribe, signals, people, block):
    class Hangs(BaseReceiverResolver):
        """Hangs at the first call."""

        name = "hangs"
        calls: list[int] = []

        def resolve(self, event, argument):
            self.calls.append(1)
            if len(self.calls) == 1:
                block.wait(PATIENCE)
            return people

    signals.add(Hangs)
    subscribe("memory", resolver="hangs")
    emit("happened")
    with watching():
        # Given up, expanded again when its lease ended, and sent.
        wait_for(lambda: statuses("memory") == ["sent"] * 3)
    # Not by the event's attempts: they begin again as soon as receivers are found.
    assert len(Hangs.calls) >= 2


def test_a_plugin_that_exits_ends_no_thread(subscribe, signals, people, monkeypatch):
    monkeypatch.setattr("dsn_core.runners.worker_threads.POLL_SECONDS", 0.05)
    exits = [SystemExit(3)] * 3

    class Exits(MemoryMessenger):
        name = "exits"
        batch_size = 1

        def send_messages(self, messages):
            if exits:
                raise exits.pop()
            yield from super().send_messages(messages)

    signals.add(Exits)
    subscribe("exits", users=people)
    emit("happened")
    with watching():
        # Each batch is one message, of which nothing is known; the others are given back.
        wait_for(lambda: statuses("exits") == ["unknown"] * 3)
        emit("happened")
        wait_for(lambda: statuses("exits") == ["unknown"] * 3 + ["sent"] * 3)
    assert not exits


def test_once_waits_for_what_a_hanging_messenger_gave_back(subscribe, hanging, people):
    hanging.batch_size = 2
    subscribe("hanging", users=people)
    emit("happened")
    Worker("default").drain()
    # The third was not in hand when the second was given up, and is sent as the first of a claim.
    assert sorted(statuses("hanging")) == ["sent", "sent", "unknown"]


def test_a_worker_whose_threads_all_hang_ends_for_another_to_begin(subscribe, hanging, people, monkeypatch):
    monkeypatch.setattr("dsn_core.runners.worker_threads.MOST_HANGING", 1)
    subscribe("hanging", users=people)
    emit("happened")
    with watching() as worker:
        wait_for(worker.is_stopping)
    assert worker.is_failed


def test_a_worker_ends_with_the_process_that_started_it(signals):
    worker = Worker("default", parent=1)
    worker.watch()
    assert worker.is_stopping()


def test_what_a_message_causes_is_sent_by_the_same_drain(subscribe, signals, people):
    """Signals fired by messages are expanded by the same worker."""

    class Echo(MemoryMessenger):
        name = "echo"

        def send_messages(self, messages):
            for message in messages:
                emit("happened", target="echo")
                yield Receipt.sent(message=message)

    signals.add(Echo)
    subscribe("echo", users=people[:1])
    emit("happened")
    assert (done := Worker("default").drain()).deliveries == 4, "three deeper, then it is too deep"
    assert done.events == 4


@pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL has NOTIFY")
def test_a_notice_brings_the_worker_at_once(subscribe, people, monkeypatch):
    monkeypatch.setattr("dsn_core.runners.worker_threads.POLL_SECONDS", 30)
    monkeypatch.setattr("dsn_core.runners.worker_threads.POLL_SECONDS", 30)
    subscribe("memory", users=people)
    with watching():
        emit("happened")
        wait_for(lambda: statuses("memory") == ["sent"] * 3)
        emit("happened")
        wait_for(lambda: statuses("memory") == ["sent"] * 6)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL has NOTIFY")
def test_notices_are_heard_again_after_their_connection_was_lost(transactional_db, monkeypatch):
    monkeypatch.setattr(notices, "STEP_SECONDS", 0.1)
    heard: list[int] = []
    over = threading.Event()
    notices.listen("default", lambda: heard.append(1), over.is_set)
    try:
        wait_for(lambda: heard)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND query = 'LISTEN dsn_core'"
            )
        wait_for(lambda: len(heard) == 2)
        notices.send("default")
        wait_for(lambda: len(heard) == 3)
    finally:
        over.set()


def test_a_rate_holds_over_all_workers(subscribe, signals, people, settings):
    times: list[float] = []

    class Timed(MemoryMessenger):
        name = "timed"

        def send_messages(self, messages):
            for message in messages:
                times.append(time.monotonic())
                yield Receipt.sent(message=message)

    signals.add(Timed)
    settings.DSN = {"RUNNER": "worker", "MESSENGERS": {"timed": {"RATE": "10/s"}}}
    subscribe("timed", users=people)
    for _ in range(4):
        emit("happened")
    began = time.monotonic()
    with watching(), watching():
        wait_for(lambda: statuses("timed") == ["sent"] * 12)
    # Never more than ten within a second, and half a step of grace: the twelfth comes no earlier.
    assert len(times) == 12
    assert max(times) - began >= 0.93
    assert set(Delivery.objects.values_list("attempts", flat=True)) == {1}


def test_the_health_file_is_touched_while_the_worker_works(signals, tmp_path, monkeypatch):
    monkeypatch.setattr("dsn_core.runners.worker_threads.POLL_SECONDS", 0.1)
    path = tmp_path / "health"
    with watching(health_file=path):
        wait_for(path.exists)
        before = path.stat().st_mtime_ns
        wait_for(lambda: path.stat().st_mtime_ns > before)
        # No database, no health: the supervisor sees its age.
        failures: list[None] = []

        def fail(*given: Any) -> None:
            failures.append(None)
            raise OperationalError("gone")

        monkeypatch.setattr("dsn_core.runners.worker.driver.known_messengers", fail)
        wait_for(lambda: failures)
        still = path.stat().st_mtime_ns
        wait_for(lambda: len(failures) > 2)
        assert path.stat().st_mtime_ns == still


def wait_for_touch(path: Path) -> None:
    """Wait for one that comes from now on, for less than it takes to give up what hangs."""
    before = path.stat().st_mtime_ns
    wait_for(lambda: path.stat().st_mtime_ns > before, seconds=40)


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no locks of rows")
def test_the_health_file_grows_old_while_no_worker_takes_due_deliveries(
    subscribe, people, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr("dsn_core.runners.worker_threads.POLL_SECONDS", 0.1)
    monkeypatch.setattr("dsn_core.runners.worker.LATE_SECONDS", 0.5)
    path = tmp_path / "health"
    subscribe("memory", users=people)
    emit("happened")
    expander.expand_due("default")
    Delivery.objects.update(not_before=timezone.now() + timedelta(seconds=1))
    with watching(health_file=path):
        with transaction.atomic():
            # Workers pass over what others hold.
            assert len(Delivery.objects.select_for_update()) == 3
            wait_for(lambda: "sends nothing of what is due" in caplog.text)
            before = path.stat().st_mtime_ns
            time.sleep(0.6)
            assert path.stat().st_mtime_ns == before
        wait_for(lambda: statuses("memory") == ["sent"] * 3)
        wait_for_touch(path)


def test_the_health_file_stays_fresh_while_a_messenger_takes_its_time(
    subscribe, hanging, people, block, tmp_path, monkeypatch, settings
):
    settings.DSN = {"RUNNER": "worker", "LEASE_SECONDS": 60}
    monkeypatch.setattr("dsn_core.runners.worker_threads.POLL_SECONDS", 0.1)
    monkeypatch.setattr("dsn_core.runners.worker.LATE_SECONDS", 0.3)
    hanging.batch_size = 2
    path = tmp_path / "health"
    subscribe("hanging", users=people)
    emit("happened")
    with watching(health_file=path):
        wait_for(lambda: "sending" in statuses("hanging"))
        time.sleep(0.5)
        # One is due all the while, and its thread is at work.
        wait_for_touch(path)
        block.set()


def test_a_messenger_that_cannot_be_made_here_makes_no_worker_ill(subscribe, signals, people, tmp_path, monkeypatch):
    def init(self: Any, *given: Any) -> None:
        raise ImportError("no library")

    monkeypatch.setattr("dsn_core.runners.worker_threads.POLL_SECONDS", 0.1)
    monkeypatch.setattr("dsn_core.runners.worker.LATE_SECONDS", 0.3)
    signals.add(type("Elsewhere", (MemoryMessenger,), {"name": "elsewhere", "__init__": init}))
    path = tmp_path / "health"
    subscribe("elsewhere", users=people)
    emit("happened")
    with watching(health_file=path):
        wait_for(lambda: statuses("elsewhere") == ["pending"] * 3)
        time.sleep(0.6)
        wait_for_touch(path)
        assert statuses("elsewhere") == ["pending"] * 3


def test_a_paused_messenger_is_not_waited_for(subscribe, signals, people):
    MemoryMessenger.answer = lambda message: Receipt.pause(60, reason="429", message=message)
    subscribe("memory", users=people)
    emit("happened")
    Worker("default").drain()
    assert statuses("memory") == ["retry"] * 3
    assert set(Delivery.objects.values_list("attempts", flat=True)) == {0}
    assert MessengerState.objects.get(messenger="memory").pause_reason == "429"


def test_once_ends_when_nothing_is_left_and_not_at_the_next_look(subscribe, people, monkeypatch):
    monkeypatch.setattr("dsn_core.runners.worker_threads.POLL_SECONDS", 600)
    subscribe("memory", users=people)
    emit("happened")
    assert Worker("default").drain().deliveries == 3


def test_the_first_go_out_while_others_are_made(subscribe, signals, people, block, monkeypatch):
    monkeypatch.setattr("dsn_core.runners.worker_threads.POLL_SECONDS", 600)
    monkeypatch.setattr("dsn_core.fanout.expander.TELL_SECONDS", 0)
    monkeypatch.setattr("dsn_core.fanout.receivers.CHUNK", 1)

    class Slowly(BaseReceiverResolver):
        name = "slowly"

        def resolve(self, event, argument):
            yield people[0]
            yield people[1]
            block.wait(PATIENCE)
            yield people[2]

    signals.add(Slowly)
    subscribe("memory", resolver="slowly")
    emit("happened")
    with watching():
        wait_for(lambda: statuses("memory") == ["sent"] * 2)
        assert Event.objects.get().status == "expanding"
        block.set()
        wait_for(lambda: statuses("memory") == ["sent"] * 3)
