"""Deploys and configuration are not the message's fault: what lacks them waits, and uses up no attempt."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from dsn_core import BaseMessageTemplate, BaseReceiverResolver, Options, secret
from dsn_core.fanout import expander
from dsn_core.intake.record import outbox
from dsn_core.models import Delivery, Event
from dsn_core.models.clock import DatabaseNow
from dsn_core.plugins.registry import registry
from dsn_core.queue import schedule, waits
from dsn_core.sending import sender
from dsn_core.testing import MemoryMessenger

pytestmark = pytest.mark.django_db

CANARY = "12345:canary-token"
DAY = datetime.timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Needs(Options):
    TOKEN: str = secret()


def rows() -> list[Delivery]:
    return list(Delivery.objects.order_by("id"))


def forget(signals: Any, plugin: Any) -> None:
    signals._plugins.remove(plugin)
    registry.remove(plugin)


def in_seconds(row: Any) -> float:
    now = type(row).objects.annotate(now=DatabaseNow()).values_list("now", flat=True)[0]
    return float((row.not_before - now).total_seconds())


# A messenger that is not there


def broken_init(self: Any, *args: Any) -> None:
    raise ImportError("no library")


def exiting_init(self: Any, *args: Any) -> None:
    raise SystemExit(1)


@pytest.fixture(autouse=True)
def unsaid(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be made is said once in a process; nothing was said before."""
    monkeypatch.setattr(sender, "_unmade", {})


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        (None, "There is no messenger 'gone'"),
        ({"Options": Needs}, "DSN['MESSENGERS']['gone']: TOKEN is missing"),
        ({"__init__": broken_init}, "The messenger 'gone' cannot be made: ImportError: no library"),
        ({"__init__": exiting_init}, "It raised SystemExit."),
    ],
    ids=["not installed", "not configured", "raises", "exits"],
)
def test_a_worker_claims_nothing_of_a_messenger_that_it_cannot_make(
    attributes: dict[str, Any] | None, said: str, signals, subscribe, fire, people, caplog
) -> None:
    there = signals.add(type("Gone", (MemoryMessenger,), {"name": "gone", **(attributes or {})}))
    subscribe(users=people, backends=[("gone", "plain"), ("memory", "plain")])
    fire()
    if attributes is None:
        forget(signals, there)
    for _ in range(3):
        signals.run()
    mine = [row for row in rows() if row.messenger == "gone"]
    assert [(row.status, row.attempts, row.last_error) for row in mine] == [("pending", 0, "")] * 3
    assert {row.status for row in rows() if row.messenger == "memory"} == {"sent"}
    told = [record for record in caplog.records if said in record.getMessage()]
    assert len([record for record in told if record.name == "dsn_core.sending"]) == 1, "logged once"
    assert "gone" in sender.unmade()
    assert schedule.seconds_until_due(outbox()) == 0
    assert schedule.seconds_until_due(outbox(), without=sender.unmade()) is None

    if attributes is not None:
        forget(signals, there)
    signals.add(type("Gone", (MemoryMessenger,), {"name": "gone"}))
    signals.run()
    assert {(row.status, row.attempts) for row in rows()} == {("sent", 1)}
    assert "gone" not in sender.unmade()


def test_a_messenger_that_cannot_be_made_shows_no_secret(signals, subscribe, fire, people, settings, caplog) -> None:
    caplog.set_level(logging.DEBUG)

    def init(self: Any, alias: str, options: Needs, *args: Any) -> None:
        raise ValueError(f"invalid token {options.TOKEN}")

    settings.DSN = {"RUNNER": "worker", "MESSENGERS": {"unmade": {"TOKEN": CANARY}}}
    signals.add(type("Unmade", (MemoryMessenger,), {"name": "unmade", "__init__": init, "Options": Needs}))
    subscribe(users=people[:1], backends=[("unmade", "plain")])
    fire()
    signals.run()
    assert "ValueError: invalid token ***" in caplog.text
    assert CANARY not in caplog.text


# A template or a setting


@pytest.fixture
def without_template(signals: Any, subscribe: Callable[..., Any], fire: Callable[..., Any], people: list[Any]) -> Any:
    """One delivery by a template that is installed nowhere; returns a function that installs it."""
    template = type("Lost", (BaseMessageTemplate,), {"name": "lost", "text": "x"})
    plugin = signals.add(template)
    subscribe(users=people[:1], backends=[("memory", "lost")])
    fire()
    expander.expand_due(outbox())
    forget(signals, plugin)
    return lambda: signals.add(template)


def test_an_unknown_template_waits_and_is_sent_once_it_is_there(without_template, signals) -> None:
    signals.run()
    (row,) = rows()
    assert (row.status, row.attempts) == ("retry", 0)
    assert "There is no message template 'lost'" in row.last_error
    assert "Install the plugin" in row.last_error
    without_template()
    signals.run(retries=True)
    (row,) = rows()
    assert (row.status, row.attempts, row.last_error, row.held_since) == ("sent", 1, "", None)


def test_it_waits_a_minute_growing_to_an_hour_for_a_day(without_template, signals) -> None:
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    since, found, moment = now, [], now
    while (wait := waits.wait_of(since if found else None, moment)) is not None:
        found.append(wait)
        moment += datetime.timedelta(seconds=wait)
    assert found[:8] == [60, 60, 120, 240, 480, 960, 1920, 3600]
    assert set(found[7:]) == {3600}
    assert DAY <= moment - now < DAY + datetime.timedelta(hours=1)

    signals.run()
    assert 55 < in_seconds(rows()[0]) <= 60
    Delivery.objects.update(held_since=DatabaseNow() - datetime.timedelta(minutes=10))
    signals.run(retries=True)
    assert 590 < in_seconds(rows()[0]) <= 602
    Delivery.objects.update(held_since=DatabaseNow() - DAY)
    signals.run(retries=True)
    (row,) = rows()
    assert (row.status, row.not_before) == ("failed", None)
    assert row.last_error.startswith("Given up after a day: There is no message template 'lost'")
    assert row.last_error.endswith(waits.SEND_AGAIN)
    without_template()
    assert Delivery.objects.retry() == 1
    assert rows()[0].held_since is None
    signals.run()
    assert rows()[0].status == "sent"


def test_a_row_that_is_given_back_goes_on_waiting_from_where_it_was(without_template, signals) -> None:
    signals.run()
    since = rows()[0].held_since
    Delivery.objects.update(not_before=DatabaseNow())
    sender.Sender("memory", outbox(), stop=lambda: True).work()
    assert (rows()[0].held_since, rows()[0].attempts) == (since, 0)


@pytest.mark.parametrize("setting", ["LANGUAGE_PATH", "TIME_ZONE_PATH"])
@pytest.mark.parametrize("messenger", ["memory", "seedlike"])
def test_a_path_of_the_settings_that_leads_nowhere_waits_to_be_mended(
    setting: str, messenger: str, signals, subscribe, fire, people, settings
) -> None:
    def send(self: Any, template: Any, users: Any, trigger_context: Any, signal_kwargs: Any) -> None:
        for user in users:
            template.render(user=user, trigger_context=trigger_context, signal_kwargs=signal_kwargs)

    signals.add(type("Seed", (MemoryMessenger,), {"name": "seedlike", "send": send}))
    settings.DSN = {"RUNNER": "worker", setting: "no.such.path"}
    subscribe(users=people, backends=[(messenger, "plain")])
    fire()
    signals.run()
    assert {(row.status, row.attempts) for row in rows()} == {("retry", 0)}
    assert all(f"DSN['{setting}']: 'no.such.path' cannot be followed" in row.last_error for row in rows())
    settings.DSN = {"RUNNER": "worker"}
    signals.run(retries=True)
    assert {(row.status, row.attempts) for row in rows()} == {("sent", 1)}


def test_what_a_template_itself_raises_is_its_own_failure(signals, subscribe, fire, people) -> None:
    def context(self: Any, context: Any) -> Any:
        return registry.message_template("no such")

    signals.add(type("Own", (BaseMessageTemplate,), {"name": "own", "text": "x", "get_template_context": context}))
    subscribe(users=people[:1], backends=[("memory", "own")])
    fire()
    signals.run()
    assert (rows()[0].status, rows()[0].attempts, rows()[0].held_since) == ("failed", 1, None)


# A resolver


def test_an_event_whose_resolver_is_not_installed_waits(signals, subscribe, fire, people) -> None:
    def resolve(self: Any, event: Any, argument: str) -> Any:
        return people

    resolver = type("Lost", (BaseReceiverResolver,), {"name": "lost", "resolve": resolve})
    plugin = signals.add(resolver)
    subscribe(resolver="lost")
    fire()
    forget(signals, plugin)
    signals.run()
    event = Event.objects.get()
    assert (event.status, event.attempts) == ("pending", 0)
    assert "There is no receiver resolver 'lost'" in event.last_error
    assert 55 < in_seconds(event) <= 60
    signals.add(resolver)
    signals.run(retries=True)
    assert {row.status for row in rows()} == {"sent"}
    assert (Event.objects.get().status, Event.objects.get().held_since) == ("expanded", None)


def test_an_event_that_waited_for_a_day_is_failed(signals, subscribe, fire) -> None:
    plugin = signals.add(type("Lost", (BaseReceiverResolver,), {"name": "lost", "resolve": lambda *given: []}))
    subscribe(resolver="lost")
    fire()
    forget(signals, plugin)
    signals.run()
    Event.objects.update(held_since=DatabaseNow() - DAY)
    signals.run(retries=True)
    event = Event.objects.get()
    assert (event.status, event.not_before) == ("failed", None)
    assert "There is no receiver resolver 'lost'" in event.last_error
