"""Whose fault a pause is: the account's, or that of the message at which the messenger asked for it."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models import F

from dsn_core import Message, Receipt
from dsn_core.models import Delivery, DeliveryPage, MessengerState, Subscription
from dsn_core.models.clock import DatabaseNow
from dsn_core.models.subscription import Priority
from dsn_core.testing import MemoryMessenger

pytestmark = pytest.mark.django_db


class Touchy(MemoryMessenger):
    """Asks for a pause at each user that the test names, and speaks for nobody else then."""

    name = "touchy"
    batch_size = 10
    at: Collection[str] = ()
    asked: list[str] = []

    def send_messages(self, messages: Sequence[Message]) -> Iterator[Receipt]:
        for message in messages:
            name = message.user.username
            self.asked.append(name)
            if name in self.at:
                yield Receipt.pause(300, reason=f"530 {name} first logs in", message=message)
                return
            self.outbox.append(message)
            yield Receipt.sent(message=message)


@pytest.fixture
def touchy(signals: Any) -> type[Touchy]:
    cls = type("Mine", (Touchy,), {"name": "touchy", "at": (), "asked": []})
    signals.add(cls)
    return cls


@pytest.fixture
def send(signals: Any, subscribe: Callable[..., Any], fire: Callable[..., Any]) -> Callable[..., None]:
    """Make deliveries for users of these names, which are made for it, and send what is due."""

    def make(*names: str, priority: Priority = Priority.NORMAL) -> None:
        Subscription.objects.update(enabled=False)
        users = [User.objects.get_or_create(username=name)[0] for name in names]
        subscribe("-".join(names)[:40], users=users, backends=[("touchy", "plain")], priority=priority)
        fire()
        signals.run()
        signals.run()

    return make


@pytest.fixture
def wait(signals: Any) -> Callable[..., None]:
    """Let so many seconds pass, and send what is due then."""

    def pass_by(seconds: float = 301) -> None:
        # In the database, whose clock alone counts: all that it knows becomes so much older.
        older = datetime.timedelta(seconds=seconds)
        for model, names in (
            (Delivery, ("not_before", "paused_at", "finished_at")),
            (DeliveryPage, ("not_before",)),
            (MessengerState, ("paused_until", "paused_at", "sent_at")),
        ):
            model._base_manager.update(**{name: F(name) - older for name in names})
        signals.run()

    return pass_by


def row_of(name: str) -> Delivery:
    return Delivery.objects.get(user_id=User.objects.get(username=name).pk)


def test_the_message_that_caused_it_goes_behind_the_others_which_are_not_changed(touchy, send, wait) -> None:
    touchy.at = {"bad"}
    send("bad", "one", "two", "three")
    assert touchy.asked == ["bad"]
    rest = [row_of(name) for name in ("one", "two", "three")]
    assert [(row.status, row.attempts, row.last_error, row.paused_at) for row in rest] == [("pending", 0, "", None)] * 3
    assert (row_of("bad").status, row_of("bad").last_error) == ("retry", "530 bad first logs in")
    wait()
    assert touchy.asked == ["bad", "one", "two", "three", "bad"]


def test_where_others_were_sent_in_between_it_is_the_messages_own_fault(touchy, send, wait, settings) -> None:
    settings.DSN = {"RUNNER": "worker", "MAX_ATTEMPTS": 3}
    touchy.at = {"bad"}
    send("bad", "one")
    assert row_of("bad").attempts == 0, "once is nobody's fault"
    wait()
    assert (row_of("bad").attempts, row_of("one").status) == (1, "sent")
    for number in (2, 3):
        send(f"new{number}")
        wait(4_000)
        assert row_of(f"new{number}").status == "sent"
        assert row_of("bad").attempts == number
    assert row_of("bad").status == "failed"
    assert row_of("bad").last_error == "Given up after 3 attempts. The last one: 530 bad first logs in"
    assert [row_of(name).attempts for name in ("one", "new2", "new3")] == [1, 1, 1]


def test_what_another_claim_sent_counts(touchy, send, wait, signals) -> None:
    """The message comes up in a claim of its own, after others were sent in theirs."""
    touchy.at = {"bad"}
    send("bad", "one")
    rows = Delivery.objects.filter(pk=row_of("bad").pk)
    rows.update(not_before=DatabaseNow() + datetime.timedelta(hours=1))
    wait()
    assert row_of("one").status == "sent"
    wait(3_700)
    assert (touchy.asked, row_of("bad").attempts) == (["bad", "one", "bad"], 1)


def test_where_nothing_was_sent_in_between_no_attempt_is_counted(touchy, send, wait) -> None:
    names = ["ann", "bob", "cyd"]
    touchy.at = set(names)
    send(*names)
    for _ in range(8):
        wait()
    assert touchy.asked == (names * 3), "each is tried in its turn"
    assert [row_of(name).attempts for name in names] == [0, 0, 0]
    touchy.at = ()
    wait()
    assert [(row_of(name).status, row_of(name).attempts) for name in names] == [("sent", 1)] * 3


def test_an_attempt_that_counts_backs_off_beyond_the_pause(touchy, send, wait) -> None:
    touchy.at = {"bad"}
    send("bad", "one")
    Delivery.objects.filter(pk=row_of("bad").pk).update(attempts=9)
    wait()
    now = Delivery.objects.annotate(now=DatabaseNow()).values_list("now", flat=True)[0]
    assert (row_of("bad").not_before - now).total_seconds() > 1_700


def test_one_of_a_higher_priority_starves_no_other(touchy, send, wait) -> None:
    touchy.at = {"bad"}
    send("bad", priority=Priority.HIGH)
    send("one", "two")
    wait()
    wait()
    assert [row_of(name).status for name in ("one", "two")] == ["sent", "sent"]
    assert row_of("bad").priority == Priority.LOW


def test_sending_it_again_forgets_that_it_caused_a_pause(touchy, send, wait) -> None:
    touchy.at = {"bad"}
    send("bad", "one")
    wait()
    Delivery.objects.filter(pk=row_of("bad").pk).update(status="failed", not_before=None)
    Delivery.objects.retry()
    assert row_of("bad").paused_at is None


def test_a_messenger_that_never_paused_notes_nothing(touchy, send) -> None:
    send("one", "two")
    assert MessengerState.objects.values_list("paused_at", "sent_at").get() == (None, None)


def test_the_first_that_is_sent_after_a_pause_is_noted_once(touchy, send, wait, django_assert_num_queries) -> None:
    touchy.at = {"bad"}
    send("bad", "one")
    touchy.at = ()
    wait()
    noted = MessengerState.objects.get().sent_at
    assert noted is not None
    assert MessengerState.objects.filter(sent_at__gt=F("paused_at")).exists()
    send("two")
    assert row_of("two").status == "sent"
    assert MessengerState.objects.get().sent_at == noted


@pytest.mark.parametrize("place", [0, 150, 299])
def test_three_hundred_good_ones_are_sent_though_three_are_refused_again_and_again(
    touchy, send, wait, place, settings
) -> None:
    bad = ["no login", "no country", "no number"]
    touchy.at = set(bad)
    touchy.batch_size = 100
    good = [f"good{number}" for number in range(300)]
    send(*good[:place], *bad, *good[place:])
    for _ in bad:
        # Each of them costs the others one pause.
        wait()
    assert Delivery.objects.filter(status="sent").count() == 300
    assert not Delivery.objects.filter(status="sent").exclude(last_error="", attempts=1).exists()
    settings.DSN = {"RUNNER": "worker", "MAX_ATTEMPTS": 2}
    for number in range(4 * len(bad)):
        send(f"later{number}")
        wait(3_700)
    refused = Delivery.objects.filter(status="failed")
    assert {row.last_error.split("last one: ")[1] for row in refused} == {f"530 {name} first logs in" for name in bad}
    assert Delivery.objects.filter(status="sent").count() == 312
