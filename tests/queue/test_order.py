"""No statement of the pipeline inherits the order of the models' lists: PostgreSQL may walk all younger rows for it."""

from __future__ import annotations

import datetime

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import dsn_core
from dsn_core.models import Delivery, Event, Trigger
from dsn_core.queue import held, purging, schedule, standstill
from tests.testapp.models import Movie

pytestmark = pytest.mark.django_db


def test_nothing_is_read_from_the_youngest_on(dsn, settings, django_user_model):
    settings.DSN = {"RUNNER": "worker"}
    users = [django_user_model.objects.create_user(name) for name in ("ann", "bob")]
    trigger = Trigger.objects.define("post_save", action_object=Movie)
    trigger.subscribe(users=users, addresses=[("memory", "x")], backends=[("memory", "simple")])
    with CaptureQueriesContext(connection) as captured:
        Movie.objects.create(name="Brazil")
        schedule.seconds_until_due("default")
        schedule.seconds_overdue("default")
        standstill.find("default")
        dsn.run()
        schedule.due_messengers("default")
        assert list(held.problems("default")) == []
        Delivery.objects.update(status="failed")
        assert Delivery.objects.retry() == 3
        assert Delivery.objects.cancel() == 3
        Event.objects.update(created_at=timezone.now() - datetime.timedelta(days=31))
        call_command("dsn_retry", interactive=False, status=["cancelled"], verbosity=0)
        dsn_core.send_due("memory")
        call_command("dsn_purge", payloads_older_than=datetime.timedelta(days=7), verbosity=0)
        call_command("dsn_purge", older_than=datetime.timedelta(days=30), verbosity=0)
        for _ in purging.purge_waiting("default", 10):
            pass
    assert not Event.objects.exists()
    assert [query["sql"] for query in captured.captured_queries if " DESC" in query["sql"]] == []
