"""Receiver filters that let messages wait: until when, at what cost, and beside other filters."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from dsn_core import BaseMessenger, BaseReceiverFilter, DeliveryView, Hold
from dsn_core.models import Delivery, DeliveryPage, MessengerState
from dsn_core.models.clock import DatabaseNow
from dsn_core.testing import MemoryMessenger

pytestmark = pytest.mark.django_db

HOUR = datetime.timedelta(hours=1)
#: What a busy machine may need between two looks at the clock.
SLACK = datetime.timedelta(seconds=30)


class Quiet(BaseReceiverFilter):
    """Holds bob's messages, for as long as a test says."""

    name = "quiet"
    wait: datetime.timedelta | None = HOUR
    asked: list[Any]

    def exclude(self, deliveries: Sequence[DeliveryView]) -> dict[Any, Any]:
        type(self).asked += [row.pk for row in deliveries]
        if self.wait is None:
            return {}
        hold = Hold(timezone.now() + self.wait, "Bob sleeps.")
        return {row.pk: hold for row in deliveries if row.user and row.user.username.startswith("bob")}


@pytest.fixture
def quiet(signals: Any, monkeypatch: pytest.MonkeyPatch) -> type[Quiet]:
    monkeypatch.setattr(Quiet, "asked", [], raising=False)
    monkeypatch.setattr(Quiet, "wait", HOUR)
    signals.add(Quiet)
    return Quiet


def bobs() -> Delivery:
    return Delivery.objects.get(user__username="bob")


def due_in(row: Delivery) -> datetime.timedelta:
    now: datetime.datetime = MessengerState.objects.values_list(DatabaseNow(), flat=True)[0]
    assert row.not_before is not None
    return row.not_before - now


def make_due() -> None:
    Delivery.objects.unfinished().update(not_before=DatabaseNow())


def test_what_is_held_waits_with_its_reason_and_uses_no_attempt(quiet, signals, subscribe, fire, people) -> None:
    subscribe(users=people)
    fire()
    signals.run()
    row = bobs()
    assert (row.status, row.attempts, row.last_error) == ("pending", 0, "Bob sleeps.")
    assert HOUR - SLACK < due_in(row) <= HOUR + SLACK
    assert sorted(str(message.user) for message in MemoryMessenger.outbox) == ["ann", "cyd"]
    # It is not claimed before.
    quiet.asked.clear()
    signals.run()
    assert quiet.asked == []


def test_it_is_asked_again_when_it_is_due_and_then_sent(quiet, signals, subscribe, fire, people, monkeypatch) -> None:
    subscribe(users=people[1:2])
    fire()
    for _ in range(12):
        # More often than a message is tried.
        signals.run()
        make_due()
    assert (bobs().status, bobs().attempts) == ("pending", 0)
    monkeypatch.setattr(quiet, "wait", None)
    signals.run()
    assert (bobs().status, bobs().attempts, bobs().last_error) == ("sent", 1, "")


@pytest.mark.parametrize(
    ("wait", "least", "most"),
    [
        (-HOUR, datetime.timedelta(minutes=1) - SLACK, datetime.timedelta(minutes=1)),
        (datetime.timedelta(seconds=5), datetime.timedelta(minutes=1) - SLACK, datetime.timedelta(minutes=1)),
        (datetime.timedelta(days=4_000), datetime.timedelta(days=31) - SLACK, datetime.timedelta(days=31)),
    ],
    ids=["past", "at once", "for years"],
)
def test_a_hold_has_a_floor_and_a_ceiling(wait, least, most, quiet, signals, subscribe, fire, people, monkeypatch):
    monkeypatch.setattr(quiet, "wait", wait)
    subscribe(users=people[1:2])
    fire()
    signals.run()
    assert least < due_in(bobs()) <= most


def answering(name: str, answer: Callable[[], Any]) -> type[BaseReceiverFilter]:
    found = {"name": name, "exclude": lambda self, deliveries: {row.pk: answer() for row in deliveries}}
    return type(name, (BaseReceiverFilter,), found)


def test_a_filter_that_excludes_goes_before_one_that_holds(quiet, signals, subscribe, fire, people) -> None:
    signals.add(answering("out", lambda: "unsubscribed"))
    subscribe(users=people[1:2])
    fire()
    signals.run()
    assert (bobs().status, bobs().last_error) == ("skipped", "unsubscribed")


@pytest.mark.parametrize("days", [(1, 2), (2, 1)])
def test_of_two_holds_the_longer_counts(days, signals, subscribe, fire, people) -> None:
    for number in days:
        until = timezone.now() + datetime.timedelta(days=number)
        signals.add(answering(f"for{number}", lambda until=until, number=number: Hold(until, f"{number} days")))
    subscribe(users=people[1:2])
    fire()
    signals.run()
    assert bobs().last_error == "2 days"
    assert due_in(bobs()) > datetime.timedelta(days=1, hours=23)


def test_it_uses_nothing_of_the_messengers_rate(quiet, signals, subscribe, fire, people, settings) -> None:
    settings.DSN = {"RUNNER": "worker", "MESSENGERS": {"memory": {"RATE": "1/h"}}}
    subscribe(users=people[1:2])
    fire()
    signals.run()
    assert bobs().status == "pending"
    (moment,) = MessengerState.objects.values_list("rate_next_at", flat=True)
    now = MessengerState.objects.values_list(DatabaseNow(), flat=True)[0]
    assert moment is None or moment <= now + SLACK


def test_what_is_held_leaves_its_page_and_the_others_of_it_go(quiet, signals, subscribe, fire) -> None:
    users = [User.objects.create_user(f"{'bob' if number % 3 else 'eve'}{number}") for number in range(120)]
    subscribe(users=users)
    fire()
    signals.run()
    assert not DeliveryPage.objects.exists()
    waiting = Delivery.objects.filter(status="pending")
    assert waiting.count() == 80
    assert not waiting.filter(not_before=None).exists()
    assert not waiting.exclude(page_key=None).exists()
    assert len(MemoryMessenger.outbox) == 40


def test_a_messenger_of_the_specifications_way_is_not_given_them_either(quiet, signals, subscribe, fire, people):
    given: list[str] = []

    class Legacy(BaseMessenger):
        name = "legacy"

        def send(self, template: Any, users: Any, trigger_context: Any, signal_kwargs: Any) -> None:
            given.extend(user.username for user in users)

    signals.add(Legacy)
    subscribe(users=people, backends=[("legacy", "plain")])
    fire()
    signals.run()
    assert sorted(given) == ["ann", "cyd"]
    assert (bobs().status, bobs().last_error) == ("pending", "Bob sleeps.")


def test_what_is_held_expires_as_anything_that_waits(quiet, signals, subscribe, fire, people) -> None:
    subscribe(users=people[1:2], expires="2h")
    fire()
    signals.run()
    Delivery.objects.update(not_before=DatabaseNow(), expires_at=timezone.now() - HOUR)
    signals.run()
    assert bobs().status == "skipped"
    assert "expired" in bobs().last_error


def test_a_hold_says_what_is_wrong_with_it() -> None:
    with pytest.raises(TypeError, match=r"Hold\(until=\.\.\.\) is a datetime, not str"):
        Hold("tomorrow", "x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="has no time zone"):
        Hold(datetime.datetime(2030, 1, 1), "x")  # noqa: DTZ001
