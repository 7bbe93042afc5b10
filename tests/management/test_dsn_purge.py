"""``manage.py dsn_purge``: what is finished and old goes, and nothing else."""

from __future__ import annotations

import datetime
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from dsn_core.models import Delivery, Event, Trigger
from dsn_core.models.clock import DatabaseNow
from tests.testapp.models import Movie

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _subscribed(dsn: Any, settings: Any, django_user_model: Any) -> None:
    settings.DSN = {"RUNNER": "worker"}
    users = [django_user_model.objects.create_user(name) for name in ("ann", "bob", "cyd")]
    Trigger.objects.define("post_save", action_object=Movie).subscribe(users=users, backends=[("memory", "simple")])


def happened(days: float) -> Event:
    Movie.objects.create(name="Brazil")
    event = Event.objects.latest("id")
    Event.objects.filter(pk=event.pk).update(created_at=timezone.now() - datetime.timedelta(days=days))
    return event


def purge(*arguments: str) -> str:
    out = StringIO()
    call_command("dsn_purge", *arguments, stdout=out)
    return out.getvalue().strip()


def test_old_events_go_with_their_deliveries_in_small_batches(dsn, django_assert_num_queries):
    for days in (31, 31, 29):
        happened(days)
    dsn.run()
    assert purge("--older-than", "30d", "--dry-run") == "Would be: 2 events and 6 deliveries deleted."
    assert Event.objects.count() == 3
    assert purge("--older-than", "30d", "--batch-size", "2") == "2 events and 6 deliveries deleted."
    assert (Event.objects.count(), Delivery.objects.count()) == (1, 3)


@pytest.mark.parametrize("status", ["pending", "sending", "retry"])
def test_what_is_not_finished_stays_whole(dsn, status):
    event = happened(31)
    dsn.run()
    row = event.deliveries.first()
    Delivery.objects.filter(pk=row.pk).update(status=status, not_before=timezone.now() + datetime.timedelta(hours=1))
    assert purge("--older-than", "30d") == "0 events and 0 deliveries deleted."
    assert event.deliveries.count() == 3


def test_an_event_that_waits_for_its_fan_out_stays(dsn):
    happened(31)
    assert purge("--older-than", "30d") == "0 events and 0 deliveries deleted."


def test_the_payload_goes_before_the_statuses(dsn):
    event = happened(8)
    dsn.run()
    assert purge("--payloads-older-than", "7d") == "1 payloads emptied."
    assert purge("--payloads-older-than", "7d") == "0 payloads emptied."
    event.refresh_from_db()
    assert (event.payload, event.deliveries.count()) == ("", 3)
    for status in ("failed", "unknown", "skipped", "cancelled"):
        Delivery.objects.update(status=status)
        assert Delivery.objects.retry() == 0, "nothing is left to send: what became of them stays known"
        assert set(Delivery.objects.values_list("status", "not_before")) == {(status, None)}
    Event.objects.update(status="failed")
    assert Event.objects.retry() == 0
    # One that went out again in the very moment in which its payload was purged.
    Delivery.objects.update(status="retry", not_before=DatabaseNow())
    dsn.run()
    assert set(Delivery.objects.values_list("status", "last_error")) == {
        ("failed", "The event's payload was purged ('manage.py dsn_purge'): nothing is left to send.")
    }


@pytest.mark.parametrize("arguments", [[], ["--older-than", "30"], ["--older-than", "1d", "--batch-size", "0"]])
def test_nonsense_is_refused(arguments):
    with pytest.raises(CommandError):
        purge(*arguments)
