"""Pages: many deliveries are claimed as one row, and everything that is promised of a delivery holds in them."""

from __future__ import annotations

import datetime
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import dsn_core
from dsn_core import BaseMessenger, Message, Receipt, Receiver
from dsn_core.contracts.receipts import Outcome
from dsn_core.fanout import expander
from dsn_core.models import Delivery, DeliveryPage, Event, MessengerState, Subscription
from dsn_core.models.clock import DatabaseNow
from dsn_core.models.subscription import Priority
from dsn_core.queue import held, pages, purging, schedule, standstill
from dsn_core.queue.schedule import Due
from dsn_core.queue.updating import update
from dsn_core.runners import driver
from dsn_core.sending.handing_over import UsualWay
from dsn_core.sending.sender import Sender
from dsn_core.testing import MemoryMessenger
from tests.ledger.books import Book, process
from tests.ledger.books import environment as ledger
from tests.ledger.books import subscribe as subscribe_addresses
from tests.ledger.messenger import LedgerMessenger
from tests.queue.side_by_side import claimed_meanwhile, claimed_side_by_side
from tests.testapp.models import Movie
from tests.waiting import wait_for

pytestmark = pytest.mark.django_db

NUMBER = 250


class Acting(MemoryMessenger):
    """Does what the test says at the message of that number, counted from 1."""

    name = "acting"
    acts: dict[int, Callable[[Message], Receipt | None]] = {}
    seen = 0

    def send_messages(self, messages: Sequence[Message]) -> Iterator[Receipt]:
        for message in messages:
            type(self).seen += 1
            act = self.acts.get(self.seen)
            receipt = act(message) if act is not None else None
            if receipt is None:
                self.outbox.append(message)
                receipt = Receipt.sent()
            yield receipt
            if receipt.outcome is Outcome.PAUSE:
                return


@pytest.fixture
def crowd(db: None) -> Group:
    """A group of :data:`NUMBER` users."""
    group = Group.objects.create(name="crowd")
    users = [User(username=f"u{number:03}", email=f"u{number}@example.org") for number in range(NUMBER)]
    User.objects.bulk_create(users)
    group.user_set.set(User.objects.all())
    return group


@pytest.fixture
def acting(signals: Any) -> type[Acting]:
    cls = type("Mine", (Acting,), {"name": "acting", "acts": {}, "seen": 0})
    signals.add(cls)
    return cls


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 100 deliveries, so that a crowd makes three."""
    monkeypatch.setattr(pages, "PAGE_SIZE", 100)


@pytest.fixture
def stage(subscribe: Callable[..., Any], fire: Callable[..., Any], crowd: Group) -> Callable[..., None]:
    """Make a delivery for each of the crowd, and send nothing."""

    def make(messenger: str = "acting", **given: Any) -> None:
        subscribe(groups=[crowd], backends=[(messenger, "plain")], **given)
        fire(value=1)
        expander.expand_due("default")

    return make


def in_pages() -> int:
    """How many deliveries wait in pages that no worker holds."""
    return pages.count_waiting(DeliveryPage.objects.filter(lease_token=None))


def by_themselves() -> list[Delivery]:
    return list(Delivery.objects.filter(not_before__isnull=False).order_by("id"))


def statuses() -> Counter[tuple[str, int]]:
    return Counter(Delivery.objects.values_list("status", "attempts"))


def sent_to() -> Counter[str]:
    return Counter(message.user.username for message in MemoryMessenger.outbox)


def end_leases() -> None:
    """As when the workers that hold pages have died a while ago."""
    DeliveryPage.objects.exclude(lease_token=None).update(not_before=DatabaseNow() - datetime.timedelta(seconds=1))


# Made


def test_many_deliveries_of_one_insert_wait_in_pages(small_pages, acting, stage) -> None:
    stage()
    assert set(Delivery.objects.values_list("status", "not_before", "lease_token")) == {("pending", None, None)}
    made = list(DeliveryPage.objects.order_by("first_id"))
    assert [Delivery.objects.of_page(page).count() for page in made] == [100, 100, 50]
    assert {(page.event_id, page.messenger, page.priority, page.lease_token) for page in made} == {
        (Event.objects.get().pk, "acting", 1, None)
    }
    assert {page.not_before for page in made} == set(Delivery.objects.values_list("created_at", flat=True))
    assert Delivery.objects.unfinished().count() == in_pages() == NUMBER
    assert not Delivery.objects.finished().exists()


@pytest.mark.parametrize("kind", ["users", "a resolver's users", "addresses"])
def test_from_a_hundred_on_whoever_the_receivers_are(
    kind, signals, acting, subscribe, fire, crowd, monkeypatch
) -> None:
    from dsn_core import BaseReceiverResolver

    class Found(BaseReceiverResolver):
        name = "found"

        def resolve(self, event: Any, argument: str) -> Any:
            if kind == "addresses":
                return [Receiver(messenger="acting", address=f"a{number}@example.org") for number in range(number)]
            return list(User.objects.order_by("pk")[:number])

    signals.add(Found)
    for number, expected in ((99, 0), (100, 100)):
        Subscription.objects.all().delete()
        Delivery.objects.all().delete()
        some = {"users": list(User.objects.all()[:number])} if kind == "users" else {"resolver": "found"}
        subscribe(backends=[("acting", "plain")], **some)
        fire()
        expander.expand_due("default")
        assert (Delivery.objects.count(), in_pages()) == (number, expected)


def test_a_fan_out_that_runs_again_adds_neither_deliveries_nor_pages(small_pages, acting, stage) -> None:
    stage()
    made = list(DeliveryPage.objects.values_list("pk", flat=True))
    Event.objects.update(status="pending", not_before=DatabaseNow())
    expander.expand_due("default")
    assert list(DeliveryPage.objects.values_list("pk", flat=True)) == made
    assert Delivery.objects.count() == NUMBER


class Whole(BaseMessenger):
    """Sends by itself."""

    name = "whole"
    needs_address = False
    calls: list[int] = []

    def send(self, template: Any, users: Any, trigger_context: Any) -> None:
        self.calls.append(len(users))
        for user in users:
            template.render(user, trigger_context)


def test_a_messenger_that_sends_by_itself_has_no_pages(signals, stage) -> None:
    signals.add(type("Mine", (Whole,), {"name": "whole", "calls": []}))
    stage("whole")
    assert not DeliveryPage.objects.exists()


def test_pages_of_a_messenger_that_sends_by_itself_now_are_broken_up(signals, acting, stage) -> None:
    stage()
    cls = type("Mine", (Whole,), {"name": "whole", "calls": []})
    signals.add(cls)
    Delivery.objects.update(messenger="whole")
    DeliveryPage.objects.update(messenger="whole")
    MessengerState.objects.create(messenger="whole")
    assert signals.run().deliveries == NUMBER
    assert cls.calls == [NUMBER]
    assert statuses() == {("sent", 1): NUMBER}


# Claimed


def test_what_is_sent_is_written_once_more_and_its_pages_are_gone(small_pages, acting, stage, signals) -> None:
    stage()
    assert signals.run().deliveries == NUMBER
    assert statuses() == {("sent", 1): NUMBER}
    assert set(sent_to().values()) == {1}
    assert not DeliveryPage.objects.exists()
    assert set(Delivery.objects.values_list("not_before", "lease_token", "page_key")) == {(None, None, None)}
    assert Delivery.objects.finished().count() == NUMBER


def test_a_claim_takes_a_part_and_leaves_the_rest_due(acting, stage) -> None:
    stage()
    first = pages.claim_page("acting", 1, 40, "default", unread=())
    second = pages.claim_page("acting", 1, 1_000, "default", unread=())
    assert first is not None
    assert second is not None
    assert (len(first.rows), len(second.rows)) == (40, NUMBER - 40)
    assert pages.claim_page("acting", 1, 40, "default", unread=()) is None
    assert {(row.status, row.attempts, row.lease_token) for row in first.rows} == {("sending", 1, first.token)}
    assert statuses() == {("pending", 0): NUMBER}, "no row is written when it is claimed"
    assert 300 <= (first.page.not_before - first.clock.read).total_seconds() < 310
    first.end("default", is_rest_left=True)
    assert in_pages() == 40
    again = pages.claim_page("acting", 1, 1_000, "default", unread=())
    assert again is not None
    assert {row.pk for row in again.rows} == {row.pk for row in first.rows}


def test_a_page_of_which_rows_still_wait_is_not_deleted(acting, stage) -> None:
    stage()
    claimed = pages.claim_page("acting", 1, 40, "default", unread=())
    assert claimed is not None
    claimed.end("default", is_rest_left=False)
    assert in_pages() == NUMBER


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("size", "limit"), [(25, 1_000), (1_000, 10)], ids=["many pages", "one page"])
def test_workers_side_by_side_take_no_row_twice(size, limit, acting, stage, monkeypatch) -> None:
    monkeypatch.setattr(pages, "PAGE_SIZE", size)
    stage()
    everything = claimed_side_by_side(4, lambda: pages.claim_page("acting", 1, limit, "default", unread=()))
    assert len(everything) == len(set(everything)) == NUMBER


@pytest.mark.django_db(transaction=True)
def test_a_page_that_another_worker_is_just_taking_is_passed_over(small_pages, acting, stage) -> None:
    stage()

    def take() -> pages.PageClaim | None:
        return pages.claim_page("acting", 1, 1_000, "default", unread=())

    mine, found = claimed_meanwhile(take, take)
    assert found
    assert not {row.pk for row in found} & {row.pk for row in mine}


def test_priority_goes_before_age_and_age_decides_between_pages_and_rows(acting, stage, subscribe, fire) -> None:
    def add(name: str, priority: Priority, moment: datetime.datetime) -> None:
        Subscription.objects.update(enabled=False)
        Subscription.objects.filter(name=name).delete()
        user = User.objects.create(username=name, email=f"{name}@example.org")
        subscribe(name, users=[user], backends=[("acting", "plain")], priority=priority)
        fire()
        expander.expand_due("default")
        Delivery.objects.filter(user=user).update(not_before=moment)

    stage()
    page = DeliveryPage.objects.get()
    add("younger", Priority.NORMAL, page.not_before + datetime.timedelta(microseconds=1))
    add("high", Priority.HIGH, DatabaseNow())
    add("older", Priority.NORMAL, page.not_before - datetime.timedelta(seconds=1))
    add("low", Priority.LOW, page.not_before - datetime.timedelta(hours=1))
    due = [Due(0, is_page=False), Due(1, is_page=False), Due(1, is_page=True), Due(2, is_page=False)]
    assert schedule.look("acting", "default").due == due
    driver.drain("default")
    # Those of one priority that wait by themselves are one batch: it is as old as its first.
    order = [message.user.username for message in MemoryMessenger.outbox]
    assert order[:3] == ["high", "older", "younger"]
    assert order[-1] == "low"
    assert len(order) == NUMBER + 4


# Interrupted


def test_what_is_given_back_stays_in_its_page(acting, stage) -> None:
    stage()
    stop = threading.Event()
    acting.acts[120] = lambda message: stop.set()
    sender = Sender("acting", "default", stop.is_set)
    assert sender.work().done == 100
    moment = DeliveryPage.objects.get().not_before
    assert sender.work().done == 20
    assert statuses() == {("sent", 1): 120, ("pending", 0): NUMBER - 120}
    assert by_themselves() == []
    assert in_pages() == NUMBER - 120
    assert set(DeliveryPage.objects.values_list("not_before", flat=True)) == {moment}, "in its old place"
    driver.drain("default")
    assert set(sent_to().values()) == {1}
    assert statuses() == {("sent", 1): NUMBER}


def test_a_pause_leaves_the_rest_in_its_page(acting, stage) -> None:
    stage()
    acting.acts[150] = lambda message: Receipt.pause(300, reason="slow down")
    assert driver.drain("default").deliveries == 150
    (cause,) = by_themselves()
    assert (cause.status, cause.page_key, cause.attempts) == ("retry", None, 0)
    assert statuses() == {("sent", 1): 149, ("retry", 0): 1, ("pending", 0): 100}
    assert in_pages() == 100
    assert schedule.look("acting", "default").due == []
    MessengerState.objects.update(paused_until=None)
    Delivery.objects.filter(pk=cause.pk).update(not_before=DatabaseNow())
    driver.drain("default")
    assert set(sent_to().values()) == {1}
    assert statuses() == {("sent", 1): NUMBER}


def test_what_is_retried_waits_by_itself(acting, stage) -> None:
    stage()
    acting.acts.update({3: lambda message: Receipt.retry(reason="busy"), 5: lambda message: Receipt.later(60)})
    driver.drain("default")
    retry, later = by_themselves()
    assert [(row.status, row.attempts, row.page_key) for row in (retry, later)] == [
        ("retry", 1, None),
        ("retry", 0, None),
    ]
    assert not DeliveryPage.objects.exists()
    Delivery.objects.unfinished().update(not_before=DatabaseNow())
    driver.drain("default")
    assert set(sent_to().values()) == {1}


def test_a_rate_smaller_than_a_page_takes_its_part(acting, stage, settings) -> None:
    settings.DSN = {"RUNNER": "worker", "MESSENGERS": {"acting": {"RATE": "100/s"}}}
    stage()
    sender = Sender("acting", "default")
    assert sender.work().done == 20, "a fifth of a second"
    assert statuses() == {("sent", 1): 20, ("pending", 0): NUMBER - 20}
    assert in_pages() == NUMBER - 20
    assert dsn_core.send_due("acting", seconds=60) == NUMBER - 20
    assert set(sent_to().values()) == {1}
    assert not DeliveryPage.objects.exists()


def test_a_worker_that_lost_its_page_settles_nothing_of_it(acting, stage, caplog) -> None:
    stage()

    def lose(message: Message) -> None:
        end_leases()
        # As another worker does that finds it.
        pages.break_up(DeliveryPage.objects.exclude(lease_token=None).get(), "default")

    acting.acts[7] = lose
    # It finds out when it settles: its lease was not to be renewed yet.
    Sender("acting", "default").work()
    assert "100 of 100 deliveries were taken over by another worker" in caplog.text
    assert statuses() == {("retry", 1): 100, ("pending", 0): NUMBER - 100}
    assert {row.page_key for row in by_themselves()} == {None}
    driver.drain("default")
    assert statuses() == {("sent", 2): 100, ("sent", 1): NUMBER - 100}


def test_the_lease_of_a_page_is_renewed_while_it_is_worked_on(acting, stage, settings) -> None:
    settings.DSN = {"RUNNER": "worker", "LEASE_SECONDS": 0.3}
    stage()
    ends: list[datetime.datetime] = []

    def note(message: Message) -> None:
        import time

        time.sleep(0.11)
        ends.append(DeliveryPage.objects.exclude(lease_token=None).values_list("not_before", flat=True)[0])

    acting.acts.update(dict.fromkeys(range(1, 8), note))
    Sender("acting", "default").work()
    assert len(set(ends)) >= 6
    assert ends == sorted(ends)
    assert statuses() == {("sent", 1): 100, ("pending", 0): NUMBER - 100}


def test_a_messenger_that_is_given_up_leaves_what_it_was_not_given_in_the_page(acting, stage) -> None:
    stage()
    sender = Sender("acting", "default")
    late: list[int] = []

    def hang(message: Message) -> None:
        assert sender.batch is not None
        assert sender.batch.abandon("It gave no sign of life.") == 100
        late.append(in_pages())

    acting.acts[50] = hang
    sender.work()
    assert late == [NUMBER - 100]
    assert statuses() == {("sent", 1): 49, ("unknown", 1): 51, ("pending", 0): NUMBER - 100}
    driver.drain("default")
    assert statuses() == {("sent", 1): NUMBER - 51, ("unknown", 1): 51}


def test_an_interrupt_gives_the_page_back(acting, stage) -> None:
    stage()

    def interrupt(message: Message) -> None:
        raise KeyboardInterrupt

    acting.acts[130] = interrupt
    sender = Sender("acting", "default")
    sender.work()
    with pytest.raises(KeyboardInterrupt):
        sender.work()
    # Of what the messenger had, nothing is known.
    assert statuses() == {("sent", 1): 129, ("unknown", 1): 71, ("pending", 0): 50}
    assert in_pages() == 50


@pytest.mark.django_db(transaction=True)
def test_a_worker_killed_in_the_middle_of_a_page(tmp_path: Path, child_environment, signals) -> None:
    """kill -9: nothing is lost, and only the batch in hand comes again."""
    signals.add(LedgerMessenger)
    subscribe_addresses(NUMBER)
    Movie.objects.create(name="Alien")
    book = Book(tmp_path / "ledger")
    environment = ledger(child_environment, book, seconds=0.005)
    worker = [sys.executable, "-m", "django", "dsn_worker", "--once"]
    with process(worker, environment, tmp_path / "log") as first:
        wait_for(lambda: len(book.lines()) >= 73, says=(tmp_path / "log").read_text)
        os.kill(first.pid, signal.SIGKILL)
        first.wait(20)
    # One is in hand, and the other thread may have prepared the next.
    assert DeliveryPage.objects.exclude(lease_token=None).count() in (1, 2)
    told = len(book.lines())
    settled = Delivery.objects.filter(status="sent").count()
    assert told - 10 <= settled <= told
    end_leases()
    done = subprocess.run(worker, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert book.lost() == 0
    # The messenger's batch_size.
    assert book.doubled() == told - settled <= 10
    assert set(Delivery.objects.values_list("status", flat=True)) == {"sent"}
    assert not DeliveryPage.objects.exists()


def test_what_kills_its_workers_is_sent_alone_at_last(acting, stage) -> None:
    stage()
    counts = []
    for _ in range(3):
        look = schedule.look("acting", "default")
        claimed = UsualWay.claim(acting(), "default", 1_000, look.due)
        assert claimed is not None
        counts.append((len(claimed.rows), {row.attempts for row in claimed.rows}))
        end_leases()
        Delivery.objects.exclude(not_before=None).update(not_before=DatabaseNow() - datetime.timedelta(seconds=1))
    assert counts == [(NUMBER, {1}), (NUMBER, {2}), (1, {3})]


# What operators do


def test_cancelling_leaves_what_a_worker_has_in_hand(small_pages, acting, stage) -> None:
    stage()
    cancelled: list[int] = []
    acting.acts[10] = lambda message: cancelled.append(Delivery.objects.all().cancel())
    driver.drain("default")
    assert cancelled == [NUMBER - 100]
    assert statuses() == {("sent", 1): 100, ("cancelled", 0): NUMBER - 100}
    assert not DeliveryPage.objects.exists()
    assert not Delivery.objects.unfinished().exists()


def test_cancelling_some_of_a_page(acting, stage) -> None:
    stage()
    chosen = Delivery.objects.filter(user__username__startswith="u00")
    assert chosen.cancel() == 10
    assert set(DeliveryPage.objects.values_list("lease_token", flat=True)) == {None}
    driver.drain("default")
    assert statuses() == {("sent", 1): NUMBER - 10, ("cancelled", 0): 10}
    assert not any(name.startswith("u00") for name in sent_to())
    assert chosen.retry() == 10
    driver.drain("default")
    assert set(sent_to().values()) == {1}


def test_what_failed_can_be_sent_again_while_the_rest_of_its_page_is_sent(acting, stage) -> None:
    stage()
    acting.acts[3] = lambda message: Receipt.failed("no")
    again: list[int] = []
    acting.acts[120] = lambda message: again.append(Delivery.objects.filter(status="failed").retry())
    driver.drain("default")
    assert again == [1]
    assert statuses() == {("sent", 1): NUMBER}
    assert set(sent_to().values()) == {1}


def test_what_waits_for_a_messenger_that_cannot_be_made_is_counted(acting, stage, monkeypatch) -> None:
    stage()
    assert list(held.problems("default")) == []

    def broken(self: Any, *given: Any) -> None:
        raise ValueError("not today")

    monkeypatch.setattr(acting, "__init__", broken)
    (said,) = held.problems("default")
    assert said.startswith(f"{NUMBER} deliveries wait for the messenger 'acting', which cannot be made here: ")


def test_events_with_open_pages_are_not_purged(acting, stage) -> None:
    stage()
    later = timezone.now() + datetime.timedelta(days=1)
    assert list(purging.purge("default", later, 100)) == []
    assert not purging.finished("default", later).exists()
    driver.drain("default")
    assert sum(step.deliveries for step in purging.purge("default", later, 100)) == NUMBER
    assert not Event.objects.exists()


def test_purging_what_waits_takes_pages_along(small_pages, acting, stage) -> None:
    stage()
    Sender("acting", "default").work()
    assert sum(step.deliveries for step in purging.purge_waiting("default", 60)) == NUMBER - 100
    assert not DeliveryPage.objects.exists()
    assert statuses() == {("sent", 1): 100}


def test_deleting_an_event_takes_its_pages_along(acting, stage) -> None:
    stage()
    Event.objects.all().delete()
    assert (DeliveryPage.objects.count(), Delivery.objects.count()) == (0, 0)


def test_what_is_left_of_an_event_that_is_gone_fails(acting, stage) -> None:
    stage()
    Event.objects.all()._raw_delete("default")
    driver.drain("default")
    assert statuses() == {("failed", 1): NUMBER}
    assert not DeliveryPage.objects.exists()


def test_a_page_without_deliveries_is_no_end(small_pages, acting, stage, monkeypatch) -> None:
    monkeypatch.setattr(pages, "CANDIDATES", 1)
    stage()
    first, second, _ = DeliveryPage.objects.order_by("id")
    Delivery.objects.of_page(first).delete()
    Delivery.objects.of_page(second).delete()
    assert driver.drain("default").deliveries == 50
    assert not DeliveryPage.objects.exists()


def test_looking_ahead_sees_pages(acting, stage, signals) -> None:
    stage()
    assert schedule.look("acting", "default").due == [Due(1, is_page=True)]
    assert dsn_core.due_messengers() == ["acting"]
    assert schedule.seconds_until_due("default") == 0.0
    DeliveryPage.objects.update(not_before=DatabaseNow() - datetime.timedelta(minutes=5))
    assert 299 < schedule.seconds_overdue("default")["acting"] < 400
    stands = standstill.find("default")
    assert stands is not None
    assert stands.late.total_seconds() > 299
    MessengerState.objects.all().delete()
    assert schedule.make_missing_known("default")
    assert list(MessengerState.objects.values_list("messenger", flat=True)) == ["acting"]
    DeliveryPage.objects.update(not_before=DatabaseNow() + datetime.timedelta(minutes=5))
    assert schedule.look("acting", "default").due == []
    assert 290 < (schedule.seconds_until_due("default") or 0) <= 300


# What it costs


def test_settling_touches_no_index_of_postgresql(acting, stage) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("other databases write only the indexes of the columns that change")

    def counted() -> tuple[int, int]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'dsn_core_delivery'"
            )
            found: tuple[int, int] = cursor.fetchone()
        return found

    stage()
    # With what other tests did on this connection, as long as PostgreSQL has not taken it over.
    before = counted()
    driver.drain("default")
    updates, hot = (after - earlier for earlier, after in zip(before, counted(), strict=True))
    assert updates == NUMBER
    assert hot >= 0.8 * updates


def test_settling_never_reads_the_table_once_for_each_row(acting, stage) -> None:
    """A filled table: without statistics, and with those of a time when hardly anything waited in a page."""
    if connection.vendor != "postgresql":
        pytest.skip("the plans of PostgreSQL")
    stage()
    pattern = Delivery.objects.order_by("id")[0]
    others = [pattern.like(address=f"a{n}", address_key=str(n), status="sent") for n in range(20_000)]
    Delivery.objects.bulk_create(others, batch_size=5_000)
    claimed = pages.claim_page("acting", 1, 1_000, "default", unread=())
    assert claimed is not None
    for number, row in enumerate(claimed.rows):
        row.status, row.provider_id, row.page_key = "sent", f"p{number}", None
    with connection.cursor() as cursor:
        for prepare in ("SELECT 1", "ANALYZE dsn_core_delivery"):
            cursor.execute(prepare)
            with CaptureQueriesContext(connection) as queries:
                names = ("status", "provider_id", "page_key")
                assert update(claimed.rows, names, "default", claimed.owned("default")) == NUMBER
            Delivery.objects.exclude(address__startswith="a").update(page_key=claimed.page.key)
            cursor.execute(f"EXPLAIN {queries[0]['sql']}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
            # Reading a small table once is well; once for each row is not.
            assert "Nested Loop" not in plan or "Seq Scan on dsn_core_delivery " not in plan, plan
