"""Web processes: gunicorn forks its workers, before or after it has loaded the project."""

from __future__ import annotations

import time

import pytest
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.db import connection, transaction

from dsn_core.models import Subscription, Trigger
from tests.processes.conftest import REFRESH, follow
from tests.testapp.models import Country, Movie

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300), pytest.mark.slow]

WAYS = {
    "loaded by each worker": ((), {}),
    "preloaded": (("--preload",), {}),
    "preloaded, knowing": (("--preload",), {"DSN_TEST_KNOWING": "1"}),
    "persistent connections": ((), {"DSN_TEST_CONN_MAX_AGE": "600"}),
    "preloaded, persistent, each request a transaction": (
        ("--preload",),
        {"DSN_TEST_CONN_MAX_AGE": "600", "DSN_TEST_ATOMIC_REQUESTS": "1", "DSN_TEST_KNOWING": "1"},
    ),
}


@pytest.mark.slow_everywhere
@pytest.mark.parametrize(("arguments", "variables"), WAYS.values(), ids=WAYS)
def test_workers_follow_every_kind_of_edit(arguments, variables, serve, listen):
    first = listen("post_save", action_object=Movie)
    web = serve(*arguments, **variables)
    assert web.recorded("movie") == [[first.pk]] * 2

    second = listen("post_save", action_object=Movie, target="")
    assert second == first
    made = listen("post_save", action_object=Country)
    follow()
    assert web.recorded("country") == [[made.pk]] * 2

    first.action_object_model, first.action_object_pk = "testapp.country", "de"
    first.save()
    follow()
    assert web.recorded("movie") == [[]] * 2
    assert web.recorded("country") == [[first.pk, made.pk]] * 2

    Subscription.objects.filter(trigger=first).update(enabled=False)
    follow()
    assert web.recorded("country") == [[made.pk]] * 2

    first.subscriptions.get().delete()
    first.subscribe("another")
    made.enabled = False
    made.save()
    follow()
    assert web.recorded("country") == [[first.pk]] * 2

    Trigger.objects.all().delete()
    follow()
    assert web.recorded("country") == [[]] * 2


def test_an_edit_that_is_rolled_back_was_never_seen(serve, listen):
    web = serve()
    kept = listen("post_save", action_object=Movie)
    try:
        with transaction.atomic():
            with transaction.atomic():
                listen("post_save", action_object=Country)
            if connection.vendor != "sqlite":
                # SQLite has one writer: while this transaction is open, nobody else saves anything.
                follow()
                assert web.recorded("country") == [[]] * 2
            raise ZeroDivisionError
    except ZeroDivisionError:
        follow()
    assert web.recorded("country") == [[]] * 2
    with transaction.atomic():
        point = transaction.savepoint()
        Trigger.objects.filter(pk=kept.pk).delete()
        transaction.savepoint_rollback(point)
    follow()
    assert web.recorded("movie") == [[kept.pk]] * 2


@pytest.mark.parametrize("arguments", [(), ("--preload",)], ids=["loaded", "preloaded"])
def test_a_page_that_needs_no_database_connects_to_none_but_for_the_first(arguments, serve, listen):
    """The first request of a process has the triggers read: two queries. Later ones cost nothing."""
    listen("post_save", action_object=Movie)
    web = serve(*arguments)
    for _ in range(3):
        follow()
        assert [(answer["queries"], answer["opened"]) for answer in web.both("/plain/").values()] == [(2, 1)] * 2


@pytest.mark.parametrize("age", ["0", "600"], ids=["new connections", "persistent connections"])
def test_a_process_looks_by_one_query_at_most_once_in_an_interval(age, serve, listen):
    trigger = listen("post_save", action_object=Movie)
    web = serve(DSN_TEST_CONN_MAX_AGE=age)
    assert web.recorded("movie") == [[trigger.pk]] * 2
    # The triggers by one query, when the process knew nothing; from now on only their version.
    before, began = web.both("/plain/"), time.monotonic()
    assert [answer["reads"] for answer in before.values()] == [1, 1]
    for _ in range(3):
        assert web.recorded("movie") == [[trigger.pk]] * 2
    follow()
    assert web.recorded("movie") == [[trigger.pk]] * 2
    after, seconds = web.both("/plain/"), time.monotonic() - began
    for pid, answer in after.items():
        assert answer["reads"] == 1
        assert 1 <= answer["looks"] - before[pid]["looks"] <= seconds / REFRESH + 1


def test_a_process_whose_time_has_not_come_asks_nothing(serve, listen):
    trigger = listen("post_save", action_object=Movie)
    web = serve(DSN_TEST_REFRESH_SECONDS="3600")
    assert web.recorded("movie") == [[trigger.pk]] * 2
    Trigger.objects.update(enabled=False)
    follow()
    assert web.recorded("movie") == [[trigger.pk]] * 2
    assert [(answer["looks"], answer["reads"]) for answer in web.both("/plain/").values()] == [(1, 1)] * 2


def test_what_is_edited_in_the_admin_of_one_process_holds_there_at_once_and_soon_in_the_other(serve):
    root = User.objects.create_superuser("root", "root@example.org", "pw")
    session = SessionStore()
    session[SESSION_KEY], session[BACKEND_SESSION_KEY] = str(root.pk), "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = root.get_session_auth_hash()
    session.save()
    token = "t" * 32
    cookies = {"Cookie": f"sessionid={session.session_key}; csrftoken={token}"}

    def post(page, **data):
        data["csrfmiddlewaretoken"] = token
        status, pid, body = web.request("POST", f"/admin/dsn_core/trigger/{page}", data, cookies)
        assert status == 302, body.decode()
        return pid

    web = serve()
    assert web.recorded("movie") == [[]] * 2
    parts = {"verb": "post_save", "enabled": "on"}
    post("add/", action_object_model="testapp.movie", **parts)
    trigger = Trigger.objects.get()
    trigger.subscribe()
    follow()
    assert web.recorded("movie") == [[trigger.pk]] * 2

    editor = post(f"{trigger.pk}/change/", action_object_model="testapp.country", **parts)
    assert web.recorded_by(editor, "country") == [trigger.pk]
    assert web.recorded_by(editor, "movie") == []
    follow()
    assert web.recorded("country") == [[trigger.pk]] * 2
    assert web.recorded("movie") == [[]] * 2

    editor = post(f"{trigger.pk}/delete/", post="yes")
    assert web.recorded_by(editor, "country") == []
    follow()
    assert web.recorded("country") == [[]] * 2
