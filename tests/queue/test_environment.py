"""A copied database sends nothing until it is adopted."""

from __future__ import annotations

import builtins
import logging
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

import dsn_core
from dsn_core.checks import deployment
from dsn_core.fanout import expander
from dsn_core.models import Delivery, Environment, Event, MessengerState
from dsn_core.queue import environment, schedule
from dsn_core.runners import driver
from dsn_core.runners.worker import Worker
from dsn_core.sending import sender

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_said", set())


def be(settings: Any, name: str | None) -> None:
    settings.DSN = {"RUNNER": "worker"} | ({} if name is None else {"ENVIRONMENT": name})


def remembered() -> list[str]:
    return list(Environment.objects.values_list("name", flat=True))


def adopt(*options: str) -> str:
    out = StringIO()
    call_command("dsn_adopt", *options, stdout=out, no_color=True)
    return out.getvalue()


@pytest.fixture
def waiting(signals: Any, subscribe: Any, fire: Any, people: list[Any], settings: Any) -> None:
    """A database of production's, with one message that was sent, three that wait, and an event that does."""
    be(settings, "production")
    subscribe(users=people)
    fire(value="expanded")
    dsn_core.expand_due()
    fire(value="recorded")
    assert remembered() == ["production"]


#: What runners call, each with all that it does.
WORK: dict[str, Any] = {
    "drain": lambda: driver.drain("default"),
    "steps": lambda: (dsn_core.expand_due(), dsn_core.send_due("memory")),
    "pipeline": lambda: (expander.expand_due("default"), sender.Sender("memory", "default").work()),
}


@pytest.mark.parametrize("here", ["staging", None, "Production"])
@pytest.mark.parametrize("work", WORK)
def test_a_copy_sends_nothing(work, here, waiting, signals, settings, caplog) -> None:
    be(settings, here)
    for _ in range(3):
        WORK[work]()
    assert signals.sent == []
    assert set(Delivery.objects.values_list("status", "attempts")) == {("pending", 0)}
    assert set(Event.objects.values_list("status", flat=True)) == {"expanded", "pending"}
    assert dsn_core.due_messengers() == []
    assert schedule.seconds_overdue("default") == {}, "a worker that holds is not ill"
    said = [record for record in caplog.records if "dsn_adopt" in record.getMessage()]
    assert [record.levelno for record in said] == [logging.ERROR], "once"
    assert "belongs to the environment 'production'" in said[0].getMessage()
    be(settings, "production")
    WORK[work]()
    assert len(signals.sent) == 6
    assert remembered() == ["production"]


def test_the_database_is_adopted_by_the_first_that_works(signals, subscribe, fire, people, settings) -> None:
    be(settings, "staging")
    subscribe(users=people)
    fire()
    signals.run()
    assert (remembered(), len(signals.sent)) == (["staging"], 3)


def test_without_the_setting_all_is_as_before(signals, subscribe, fire, people, settings) -> None:
    be(settings, None)
    subscribe(users=people)
    fire()
    signals.run()
    assert (remembered(), len(signals.sent)) == ([], 3)


def test_the_setting_is_new_where_messages_were_sent(signals, subscribe, fire, people, settings, caplog) -> None:
    be(settings, None)
    subscribe(users=people)
    fire()
    signals.run()
    Delivery.objects.all().delete()
    Event.objects.all().delete()
    be(settings, "production")
    fire()
    signals.run()
    assert (remembered(), len(signals.sent)) == ([], 3), "also after a purge"
    assert "has sent messages before under no such name" in caplog.text
    adopt("--no-input")
    signals.run()
    assert (remembered(), len(signals.sent)) == (["production"], 6)


def test_a_setting_that_cannot_be_read_sends_nothing(waiting, signals, settings) -> None:
    settings.DSN = {"RUNNER": "worker", "ENVIRONMENT": 7}
    signals.run()
    assert signals.sent == []
    with pytest.raises(CommandError, match=r"DSN\['ENVIRONMENT'\] must be a text, not 7"):
        adopt("--no-input")
    assert remembered() == ["production"]


def test_a_restore_under_a_running_process_is_noticed(waiting, signals, settings) -> None:
    be(settings, "staging")
    adopt("--no-input", "--purge-waiting")
    signals.run()
    Environment.objects.update(name="production")
    Event.objects.update(status="pending", not_before=Event.objects.latest("pk").created_at)
    signals.run()
    assert signals.sent == []


def test_asking_costs_no_query(waiting, signals, django_assert_num_queries) -> None:
    signals.run()
    with django_assert_num_queries(1):
        assert not schedule.look("memory", "default").due
    with django_assert_num_queries(1):
        assert not schedule.has_events("default")


# dsn_adopt


@pytest.mark.parametrize(("answer", "sent"), [("yes", 6), ("YES ", 6), ("y", 0), ("", 0), (EOFError, 0)])
def test_it_asks(answer, sent, waiting, signals, settings, monkeypatch) -> None:
    be(settings, "staging")

    def reply(question: str) -> str:
        if answer is EOFError:
            raise EOFError
        return str(answer)

    monkeypatch.setattr(builtins, "input", reply)
    out = StringIO()
    if sent:
        call_command("dsn_adopt", stdout=out)
    else:
        with pytest.raises(CommandError, match="Nothing was changed"):
            call_command("dsn_adopt", stdout=out)
    signals.run()
    assert len(signals.sent) == sent
    assert "belongs to the environment 'production', and DSN['ENVIRONMENT'] is 'staging'" in out.getvalue()
    assert "1 events and 3 deliveries wait in it. They will be sent from here" in out.getvalue()


def test_it_purges_what_waits_and_nothing_else(waiting, signals, settings, monkeypatch) -> None:
    monkeypatch.setattr("dsn_core.management.commands.dsn_adopt.SIZE", 2)
    Delivery.objects.filter(pk=Delivery.objects.first().pk).update(status="sent", not_before=None)
    be(settings, "staging")
    assert "Purged: 1 events and 2 deliveries that waited." in adopt("--no-input", "--purge-waiting")
    assert list(Delivery.objects.values_list("status", flat=True)) == ["sent"]
    assert list(Event.objects.values_list("status", flat=True)) == ["expanded"]
    signals.run()
    assert (signals.sent, remembered()) == ([], ["staging"])


def test_ones_own_messages_are_not_purged(waiting, settings) -> None:
    assert "already" in adopt("--no-input")
    with pytest.raises(CommandError, match="nothing was purged"):
        adopt("--no-input", "--purge-waiting")
    assert Delivery.objects.filter(status="pending").count() == 3


def test_without_the_setting_it_forgets_the_environment(waiting, signals, settings) -> None:
    be(settings, None)
    assert "belongs to no environment any more" in adopt("--no-input")
    signals.run()
    assert (remembered(), len(signals.sent)) == ([], 6)
    with pytest.raises(CommandError, match=r"set DSN\['ENVIRONMENT'\]"):
        adopt("--no-input")


def test_it_wakes_the_runner(waiting, settings, monkeypatch) -> None:
    woken: list[str] = []
    monkeypatch.setattr("dsn_core.management.commands.dsn_adopt.wake", woken.append)
    be(settings, "staging")
    adopt("--no-input")
    assert woken == ["default"]


# Where it is said


def test_the_deploy_checks(signals, settings) -> None:
    be(settings, None)
    assert "dsn.W044" in {item.id for item in deployment.check_deployment()}
    be(settings, "production")
    assert "dsn.W044" not in {item.id for item in deployment.check_deployment()}
    assert "dsn.W045" not in {item.id for item in run_checks(include_deployment_checks=True)}
    Environment.objects.create(name="staging")
    (found,) = [item for item in run_checks(include_deployment_checks=True) if item.id == "dsn.W045"]
    assert "'staging'" in found.msg
    assert "dsn_adopt" in str(found.hint)
    Environment.objects.all().delete()
    MessengerState.objects.create(messenger="memory")
    assert [item.id for item in deployment.check_running()] == ["dsn.W045"]


def test_dsn_plugins_says_it(waiting, settings) -> None:
    be(settings, "staging")
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("dsn_plugins", "--check", stdout=out)
    assert "the database belongs to the environment 'production'" in " ".join(out.getvalue().split())


@pytest.mark.parametrize(
    ("here", "said"),
    [
        ("staging", "the database belongs to the environment production, and this is staging."),
        (None, "the database belongs to the environment production, and this one has no name."),
    ],
)
def test_the_admin_says_it(here, said, waiting, settings, client: Client) -> None:
    client.force_login(User.objects.create_superuser("root"))
    address = reverse("admin:dsn_core_event_changelist")
    assert "Nothing is sent" not in client.get(address).content.decode()
    be(settings, here)
    assert said in client.get(address).content.decode()
    Environment.objects.all().delete()
    be(settings, "<b>staging</b>")
    page = client.get(address).content.decode()
    assert "before it knew the environment &lt;b&gt;staging&lt;/b&gt;." in page


@pytest.mark.django_db(transaction=True)
def test_the_worker_says_it_when_it_starts_though_nothing_is_due(settings, caplog) -> None:
    Environment.objects.create(name="production")
    be(settings, "staging")
    Worker("default").drain()
    Worker("default").drain()
    assert caplog.text.count("Nothing is sent: the database belongs to the environment 'production'") == 1


@pytest.mark.django_db(transaction=True)
def test_the_worker_sends_nothing_of_a_copy(waiting, signals, settings) -> None:
    be(settings, "staging")
    Worker("default").drain()
    assert signals.sent == []
    adopt("--no-input")
    Worker("default").drain()
    assert len(signals.sent) == 6


def test_a_name_that_cannot_be_one_is_not_taken_for_none(settings) -> None:
    settings.DSN = {"ENVIRONMENT": "production "}
    said = str(environment.Mismatch("", "production"))
    assert "DSN['ENVIRONMENT'] must be a name of at most 100 printable characters, without spaces" in said
