"""What knowing a thousand triggers costs, in queries."""

from __future__ import annotations

import subprocess
import sys

import pytest
from django.db import connection
from django.db.models import signals
from django.test.utils import CaptureQueriesContext

from dsn_core.models import Event, Subscription, Trigger
from dsn_core.triggers.dispatch import trigger_cache
from tests.testapp.models import Country, Movie, Place

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def thousand(settings):
    """A thousand triggers on one model, each with a subscription."""
    settings.DSN = {"RUNNER": "worker"}
    Trigger.objects.bulk_create(
        [Trigger(verb="post_save", action_object_model="testapp.movie", target=f"t{number}") for number in range(1_000)]
    )
    Subscription.objects.bulk_create([Subscription(trigger=trigger) for trigger in Trigger.objects.all()])


def statements(captured):
    """What was asked of the database, but for what begins and ends a transaction."""
    edges = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")
    return [query["sql"] for query in captured.captured_queries if not query["sql"].startswith(edges)]


START = """
import django
from django.db.backends.signals import connection_created
from django.db import connection
opened, asked = [], []
connection_created.connect(lambda **kwargs: opened.append(1), weak=False)

def watch(execute, sql, *arguments):
    asked.append(sql)
    return execute(sql, *arguments)

connection.execute_wrappers.append(watch)
django.setup()
print(len(opened), len(asked))
from dsn_core.triggers.dispatch import trigger_cache
from dsn_core.models import Subscription
connection.ensure_connection()
print(len(opened), len([sql for sql in asked if Subscription._meta.db_table in sql]), len(trigger_cache.matcher()))
print(len([sql for sql in asked if "dsn_core_" in sql]))
"""


def test_starting_asks_nothing_and_the_first_connection_reads_all_by_one_query(thousand, child_environment):
    done = subprocess.run(
        [sys.executable, "-c", START],
        env=child_environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # Nothing in ready(); then the triggers by one query, after their version.
    assert done.stdout.split("\n")[:3] == ["0 0", "1 1 1000", "2"]


def test_editing_costs_the_same_queries_when_a_thousand_exist(settings, request):
    settings.DSN = {"RUNNER": "worker"}
    costs = []
    for number in (1, 2):
        found = {}
        with CaptureQueriesContext(connection) as captured:
            trigger = Trigger.objects.define("post_save", action_object=Movie, target=f"counted{number}")
        found["create"] = statements(captured)
        with CaptureQueriesContext(connection) as captured:
            subscription = trigger.subscribe()
        found["subscribe"] = statements(captured)
        for what, edit in {
            "edit": trigger.save,
            "edit its subscription": subscription.save,
            "switch off": lambda: Trigger.objects.filter(target=trigger.target).update(enabled=False),  # noqa: B023 - called at once
            "delete": trigger.delete,
        }.items():
            with CaptureQueriesContext(connection) as captured:
                edit()
            found[what] = statements(captured)
        costs.append({what: len(queries) for what, queries in found.items()})
        assert {what for what in ("create", "edit", "edit its subscription") if len(found[what]) > 10} == set(), found
        if number == 1:
            request.getfixturevalue("thousand")
    assert costs[0] == costs[1]


def test_ten_thousand_rows_are_deleted_by_one_query_when_other_models_have_triggers(thousand, listen):
    for verb in ("post_save", "pre_save", "pre_delete", "post_delete"):
        listen(verb, action_object=Place)
        listen(verb, action_object=Movie)
    rows = [Country(code=f"{chr(number // 200 + 0x4E00)}{chr(number % 200 + 0x4E00)}") for number in range(10_000)]
    Country.objects.bulk_create(rows)
    with CaptureQueriesContext(connection) as captured:
        assert Country.objects.all().delete()[0] == 10_000
    assert len(statements(captured)) == 1, statements(captured)
    assert not Event.objects.exists()
    assert not signals.post_delete.has_listeners(Country)
    assert len(trigger_cache.matcher() or ()) == 1_008


def test_an_own_edit_makes_nobody_read_all_triggers_again(thousand, listen, settings):
    settings.DSN = {"RUNNER": "worker", "REFRESH_SECONDS": 60}
    trigger_cache.refresh()
    trigger = listen("post_save", action_object=Place)
    trigger.subscriptions.update(enabled=True)
    trigger.save()
    with CaptureQueriesContext(connection) as captured:
        trigger_cache.refresh()
        trigger_cache.refresh()
    # The version, as this process made it.
    assert len(captured) == 1
    assert len(trigger_cache.matcher() or ()) == 1_001
