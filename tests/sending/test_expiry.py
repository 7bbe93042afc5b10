"""A message that has expired is skipped with the reason, and never sent late."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from django.core.exceptions import ValidationError

import dsn_core
from dsn_core import BaseMessageTemplate, BaseMessenger, Receipt
from dsn_core.contracts.spans import parse_expiry, parse_span
from dsn_core.exceptions import ConfigurationError
from dsn_core.models import Delivery, Event
from dsn_core.models.clock import DatabaseNow
from dsn_core.testing import MemoryMessenger

pytestmark = pytest.mark.django_db


class Weather(BaseMessageTemplate):
    """News for two hours."""

    name = "weather"
    text = "rain"
    expires = "2h"


def rows() -> list[Delivery]:
    return list(Delivery.objects.order_by("id"))


def statuses() -> list[str]:
    return [row.status for row in rows()]


def let_pass(**span: float) -> None:
    """Be so much later: what happened is so much longer ago."""
    for event in Event.objects.all():
        Event.objects.filter(pk=event.pk).update(created_at=event.created_at - datetime.timedelta(**span))
    for row in Delivery.objects.exclude(expires_at=None):
        Delivery.objects.filter(pk=row.pk).update(expires_at=row.expires_at - datetime.timedelta(**span))
    Delivery.objects.filter(not_before__isnull=False).update(not_before=DatabaseNow())


EXPIRED = r"It expired at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, before it was sent; it is not sent late\."


@pytest.mark.parametrize(("hours", "status"), [(47, "sent"), (49, "skipped")])
@pytest.mark.parametrize("expanded", [True, False], ids=["waits to be sent", "waits to be expanded"])
def test_a_subscription_says_how_long(expanded, hours, status, signals, subscribe, fire, people) -> None:
    subscribe(users=people, addresses=[("memory", "a@b.c")], expires="2d")
    fire()
    if expanded:
        dsn_core.expand_due()
    let_pass(hours=hours)
    signals.run()
    assert statuses() == [status] * 4
    assert len(signals.sent) == (4 if status == "sent" else 0)
    if status == "skipped":
        import re

        assert all(re.fullmatch(EXPIRED, row.last_error) for row in rows())
        assert all(row.not_before is None and row.finished_at for row in rows())


def test_a_template_says_it_where_the_subscription_does_not(signals, subscribe, fire, people) -> None:
    signals.add(Weather)
    subscribe("template", users=people[:1], backends=[("memory", "weather")])
    subscribe("own", users=people[1:2], backends=[("memory", "weather")], expires="4w")
    subscribe("never", users=people[2:])
    fire()
    dsn_core.expand_due()
    lives = {row.user.username: row.expires_at and row.expires_at - row.event.created_at for row in rows()}
    assert lives == {"ann": datetime.timedelta(hours=2), "bob": datetime.timedelta(weeks=4), "cyd": None}
    let_pass(hours=3)
    signals.run()
    assert {row.user.username: row.status for row in rows()} == {"ann": "skipped", "bob": "sent", "cyd": "sent"}


def test_an_outage_of_the_provider_does_not_make_it_late(signals, subscribe, fire, people) -> None:
    subscribe(users=people[:1], expires="1h")
    MemoryMessenger.answer = lambda message: Receipt.retry(after=1, reason="503")
    fire()
    signals.run()
    assert statuses() == ["retry"]
    MemoryMessenger.answer = None
    let_pass(hours=2)
    signals.run()
    (row,) = rows()
    assert (row.status, signals.sent) == ("skipped", [])
    assert row.last_error.endswith("it is not sent late. Before that: 503")


def test_sending_again_by_hand_does_not_make_it_news(signals, subscribe, fire, people) -> None:
    subscribe(users=people[:1], expires="1h")
    MemoryMessenger.answer = lambda message: Receipt.failed("no")
    fire()
    signals.run()
    MemoryMessenger.answer = None
    Delivery.objects.all().retry()
    signals.run()
    assert (statuses(), len(signals.sent)) == (["sent"], 1), "in time"
    Delivery.objects.update(status="failed")
    let_pass(hours=2)
    Delivery.objects.all().retry()
    signals.run()
    assert (statuses(), len(signals.sent)) == (["skipped"], 1)


def test_what_expires_while_the_portions_before_it_are_sent(signals, subscribe, fire, people) -> None:
    class Slow(MemoryMessenger):
        name = "slow"
        batch_size = 1

        def send_messages(self, messages: Any) -> Any:
            let_pass(hours=2)
            # What its worker holds in memory is as old as the rows are.
            for row in held:
                row.expires_at -= datetime.timedelta(hours=2)
            yield from super().send_messages(messages)

    from dsn_core.sending import sender

    held: list[Any] = []
    signals.add(Slow)
    subscribe(users=people, backends=[("slow", "plain")], expires="1h")
    fire()
    dsn_core.expand_due()
    sender = sender.Sender("slow", "default")
    sender._batches = 3
    claim = sender._claim

    def claimed(*args: Any) -> Any:
        found, rest = claim(*args)
        held.extend(found.rows)
        return found, rest

    sender._claim = claimed  # type: ignore[method-assign]
    sender.work()
    assert statuses() == ["sent", "skipped", "skipped"]


def test_it_is_retired_when_its_messenger_can_be_made_again(signals, subscribe, fire, people, settings) -> None:
    subscribe(users=people[:1], expires="1h")
    fire()
    dsn_core.expand_due()
    configured = settings.DSN
    settings.DSN = {"RUNNER": "worker", "MESSENGERS": {"memory": {"NONSENSE": 1}}}
    let_pass(hours=2)
    signals.run()
    assert statuses() == ["pending"]
    settings.DSN = configured
    signals.run()
    assert statuses() == ["skipped"]


@pytest.mark.parametrize("with_users", [True, False])
def test_the_seeds_way_is_not_called_late(with_users, signals, subscribe, fire, people) -> None:
    called: list[Any] = []

    class Seed(BaseMessenger):
        name = "seed"

        def send(self, users: Any) -> None:
            called.append(users)

    signals.add(Seed)
    subscribe(users=people if with_users else [], backends=[("seed", "plain")], expires="1h")
    fire()
    dsn_core.expand_due()
    let_pass(hours=2)
    signals.run()
    signals.run()
    assert called == []
    assert statuses() == ["skipped"] * (3 if with_users else 1)


@pytest.mark.parametrize("text", ["2", "d", "0s", "0d", "2 days", "-1d", "1.5h", "9999w", "²d"])
def test_what_is_no_span_is_refused_where_it_is_written(text, signals, subscribe) -> None:
    with pytest.raises(ValidationError, match=r"no span of time|at most 7"):
        subscribe(expires=text)
    with pytest.raises(ValueError, match="expires"):
        signals.add(type("Bad", (BaseMessageTemplate,), {"text": "x", "expires": text}))


def test_what_is_left_out_stays_and_empty_takes_it_away(subscribe) -> None:
    assert subscribe(expires="2D").expires == "2D"
    assert subscribe().expires == "2D"
    assert subscribe(expires="").expires == ""


def test_spans() -> None:
    assert parse_span(" 4W ") == datetime.timedelta(weeks=4)
    assert parse_expiry("") is None
    with pytest.raises(ConfigurationError, match="no span of time"):
        parse_span(7)  # type: ignore[arg-type]
