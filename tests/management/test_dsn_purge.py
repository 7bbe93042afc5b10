"""``manage.py dsn_purge``: what is finished and old goes, and nothing else."""

from __future__ import annotations

import datetime
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection, models
from django.db.models.signals import post_delete, pre_delete
from django.utils import timezone

from dsn_core.models import Delivery, Event, Trigger
from dsn_core.models.clock import DatabaseNow
from dsn_core.queue import purging
from tests.testapp.models import Movie

pytestmark = pytest.mark.django_db

DAYS_30 = datetime.timedelta(days=30)


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


def test_a_large_event_goes_page_by_page(dsn, monkeypatch):
    monkeypatch.setattr(purging, "KEYS_AT_ONCE", 4)
    for days in (31, 31, 31, 29):
        happened(days)
    dsn.run()
    waits = Event.objects.order_by("pk")[1]
    waits.deliveries.update(status="retry", not_before=timezone.now() + datetime.timedelta(hours=1))
    assert purge("--older-than", "30d", "--batch-size", "2") == "2 events and 6 deliveries deleted."
    assert (Event.objects.count(), waits.deliveries.count()) == (2, 3)


def test_what_is_sent_again_meanwhile_stays_with_its_event(dsn):
    event = happened(31)
    dsn.run()
    Delivery.objects.update(status="failed")
    again = event.deliveries.order_by("pk")[2]
    steps = purging.purge("default", timezone.now(), 2)
    assert next(steps).deliveries == 2
    assert Delivery.objects.filter(pk=again.pk).retry() == 1
    assert [(step.events, step.deliveries) for step in steps] == [(0, 0)]
    assert list(Delivery.objects.values_list("pk", "event_id")) == [(again.pk, event.pk)]


def test_steps_are_few_and_go_forward_by_key(dsn, django_assert_num_queries):
    for _ in range(3):
        happened(31)
    happened(29)
    dsn.run()
    # The page of events, what is open of it, the keys of deliveries, their deletion; what is kept, a transaction with
    # the pages of deliveries and the events; the last page.
    with django_assert_num_queries(10) as captured:
        assert [step.deliveries for step in purging.purge("default", timezone.now() - DAYS_30, 100)] == [9, 0]
    said = [query["sql"] for query in captured.captured_queries]
    assert not [sql for sql in said if "DESC" in sql or "OFFSET" in sql]


@pytest.mark.parametrize("model", [Event, Delivery])
def test_who_listens_hears_of_each_row(dsn, model):
    happened(31)
    dsn.run()
    gone = list(model.objects.order_by("pk").values_list("pk", flat=True))
    heard: list[tuple[str, int]] = []

    def before(instance: Any, **kwargs: Any) -> None:
        heard.append(("before", instance.pk))

    def after(instance: Any, **kwargs: Any) -> None:
        heard.append(("after", instance.pk))

    pre_delete.connect(before, sender=model)
    post_delete.connect(after, sender=model)
    try:
        assert purge("--older-than", "30d") == "1 events and 3 deliveries deleted."
    finally:
        pre_delete.disconnect(before, sender=model)
        post_delete.disconnect(after, sender=model)
    assert sorted(heard) == sorted((moment, pk) for moment in ("before", "after") for pk in gone)


@pytest.fixture
def remark(request):
    """A project's own model whose rows belong to events."""

    class Remark(models.Model):
        event = models.ForeignKey(Event, on_delete=request.param, related_name="+")

        class Meta:
            app_label = "testapp"

        def __str__(self) -> str:
            return f"about {self.event_id}"

    with connection.schema_editor() as editor:
        editor.create_model(Remark)
    yield Remark
    with connection.schema_editor() as editor:
        editor.delete_model(Remark)
    del apps.all_models["testapp"]["remark"]
    apps.clear_cache()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("remark", [models.CASCADE], indirect=True)
def test_a_projects_rows_go_with_their_events(dsn, remark):
    for days in (31, 29):
        remark.objects.create(event=happened(days))
    dsn.run()
    assert purge("--older-than", "30d") == "1 events and 3 deliveries deleted."
    assert remark.objects.get().event_id == Event.objects.get().pk


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("remark", [models.PROTECT], indirect=True)
def test_a_projects_rows_protect_their_events(dsn, remark):
    remark.objects.create(event=happened(31))
    dsn.run()
    with pytest.raises(CommandError, match=r"Remark\.event"):
        purge("--older-than", "30d")
    assert Event.objects.exists()
