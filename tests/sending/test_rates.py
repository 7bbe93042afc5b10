"""A messenger's rate is for what leaves: what is excluded, has no address or cannot be rendered costs none of it."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from django.contrib.auth.models import User

import dsn_core
from dsn_core import BaseMessageTemplate, BaseMessenger, BaseReceiverFilter
from dsn_core.models import Delivery, MessengerState
from dsn_core.models.clock import DatabaseNow
from dsn_core.testing import MemoryMessenger

pytestmark = pytest.mark.django_db

HOUR = datetime.timedelta(hours=1)


class NoNumber(BaseReceiverFilter):
    """Excludes users whose name has a digit."""

    def exclude(self, deliveries: Any) -> Any:
        return {row.pk: "unsubscribed" for row in deliveries if row.user and row.user.username[-1].isdigit()}


class Picky(BaseMessageTemplate):
    name = "picky"
    text = "{{ user.username }}"

    def get_template_context(self, context: Any) -> Any:
        if context["user"].username.startswith("bad"):
            raise ValueError("not for you")
        return context


@pytest.fixture(autouse=True)
def _one_an_hour(settings: Any) -> None:
    settings.DSN = {"RUNNER": "worker", "MESSENGERS": {"memory": {"RATE": "1/h"}, "seed": {"RATE": "1/h"}}}


def used() -> datetime.timedelta:
    """How much of the rate is used up from now on."""
    (moment,) = MessengerState.objects.exclude(rate_next_at=None).values_list("rate_next_at", flat=True)
    now = MessengerState.objects.values_list(DatabaseNow(), flat=True)[0]
    return max(moment - now, datetime.timedelta())


def send(messenger: str = "memory") -> int:
    """Send until the rate would have to be waited for."""
    dsn_core.expand_due()
    return dsn_core.send_due(messenger, seconds=60)


def statuses() -> list[str]:
    return list(Delivery.objects.order_by("id").values_list("status", flat=True))


def test_a_hundred_that_a_filter_excludes_cost_nothing(signals, subscribe, fire) -> None:
    signals.add(NoNumber)
    subscribe(users=User.objects.bulk_create(User(username=f"u{number}") for number in range(100)))
    fire()
    assert send() == 100
    assert statuses() == ["skipped"] * 100
    assert not used()


def test_the_one_that_is_left_goes_and_the_next_waits(signals, subscribe, fire) -> None:
    signals.add(NoNumber)
    names = [*(f"u{number}" for number in range(5)), "left", "next"]
    subscribe(users=User.objects.bulk_create(User(username=name) for name in names))
    fire()
    assert send() == 6
    assert statuses() == ["skipped"] * 5 + ["sent", "pending"]
    assert HOUR * 0.9 < used() <= HOUR


def test_neither_do_those_without_an_address_nor_those_that_cannot_be_rendered(signals, subscribe, fire) -> None:
    signals.add(Picky)
    without = User.objects.bulk_create(User(username=f"none{number}") for number in range(3))
    bad = User.objects.bulk_create(User(username=f"bad{number}", email="b@example.org") for number in range(3))
    found = {user.pk: "a@example.org" for user in bad}

    class Addressed(MemoryMessenger):
        name = "addressed"

        def addresses(self, users: Any) -> Any:
            return {user.pk: found[user.pk] for user in users if user.pk in found}

    signals.add(Addressed)
    subscribe(users=[*without, *bad], backends=[("addressed", "picky")])
    MessengerState.objects.create(messenger="addressed")
    fire()
    from django.conf import settings

    settings.DSN["MESSENGERS"]["addressed"] = {"RATE": "1/h"}
    assert send("addressed") == 6
    assert statuses() == ["skipped"] * 3 + ["failed"] * 3
    assert not used()


def test_what_leaves_costs_its_turn_whatever_becomes_of_it(signals, subscribe, fire, people) -> None:
    MemoryMessenger.answer = lambda message: dsn_core.Receipt.failed("no such person")
    subscribe(users=people)
    fire()
    assert send() == 1
    assert statuses() == ["failed", "pending", "pending"]
    assert used() > HOUR * 0.9


def test_the_seeds_way_pays_for_those_it_is_called_with(signals, subscribe, fire, people) -> None:
    called: list[Any] = []

    class Seed(BaseMessenger):
        name = "seed"

        def send(self, users: Any) -> None:
            called.append(list(users))

    signals.add(Seed, NoNumber)
    subscribe(
        users=[*User.objects.bulk_create(User(username=f"u{number}") for number in range(5)), people[0]],
        backends=[("seed", "plain")],
    )
    fire()
    assert send("seed") == 6
    assert called == [[people[0]]]
    assert HOUR * 0.9 < used() <= HOUR
