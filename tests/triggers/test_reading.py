"""When the triggers are read: at moments at which nobody is disturbed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from django.core.signals import request_started
from django.db import close_old_connections, connection, connections, transaction
from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.signals import connection_created
from django.test import SimpleTestCase
from django.test.utils import CaptureQueriesContext

import dsn_core
from dsn_core import muted
from dsn_core.intake.trouble import errors
from dsn_core.models import ConfigurationChange, Event, Subscription, Trigger
from dsn_core.triggers.dispatch import trigger_cache
from tests.services import SERVICES
from tests.testapp.models import Country, Movie


@pytest.fixture(autouse=True)
def worker(settings):
    settings.DSN = {"RUNNER": "worker", "REFRESH_SECONDS": 0}


def known():
    index = trigger_cache.matcher()
    return None if index is None else len(index)


class NoDatabaseTest(SimpleTestCase):
    def test_a_request_without_a_database_stays_without_it(self):
        # As Django's test client does: this asks connections that earlier tests left open.
        request_started.disconnect(close_old_connections)
        self.addCleanup(request_started.connect, close_old_connections)
        request_started.send(sender=type(self))
        dsn_core.refresh()
        assert self.client.get("/nothing/").status_code == 404


def test_a_test_that_may_not_use_the_database_is_undisturbed(client):
    assert client.get("/nothing/").status_code == 404


@pytest.mark.django_db(transaction=True)
class TestMoments:
    def test_a_new_connection_looks_before_its_first_transaction(self, listen):
        listen("post_save", action_object=Country)
        trigger_cache.forget()
        connection.close()
        with transaction.atomic():
            assert known() == 1

    def test_a_connection_to_no_database_reads_nothing(self, listen):
        """By one, Django makes and drops databases: that of the settings may not be there."""
        listen("post_save", action_object=Country)
        for alias, expected in ((NO_DB_ALIAS, None), ("other", 1)):
            trigger_cache.forget()
            connection_created.send(sender=type(connection), connection=SimpleNamespace(alias=alias))
            assert known() == expected

    def test_a_request_looks_when_its_connection_is_open(self, listen, client):
        listen("post_save", action_object=Country)
        trigger_cache.forget()
        client.get("/nothing/")
        assert known() == 1

    def test_the_first_request_reads_and_later_ones_open_no_connection(self, listen):
        listen("post_save", action_object=Country)
        trigger_cache.forget()
        connection.close()
        request_started.send(sender=None)
        assert known() == 1
        connection.close()
        request_started.send(sender=None)
        assert connection.connection is None

    def test_nothing_is_read_inside_a_transaction(self, listen, django_assert_num_queries):
        with transaction.atomic(), django_assert_num_queries(0):
            connection.force_debug_cursor = False
            request_started.send(sender=None)
            trigger_cache.refresh()
            connection.force_debug_cursor = True

    def test_whoever_counts_queries_is_undisturbed(self, client, django_assert_num_queries):
        with django_assert_num_queries(0):
            client.get("/nothing/")

    def test_looking_costs_one_query_at_most_once_in_an_interval(self, settings):
        trigger_cache.refresh()
        settings.DSN = {"RUNNER": "worker", "REFRESH_SECONDS": 60}
        with CaptureQueriesContext(connection) as captured:
            for _ in range(5):
                trigger_cache.refresh()
        assert len(captured) == 0
        settings.DSN = {"RUNNER": "worker", "REFRESH_SECONDS": 0.1}
        time.sleep(0.15)
        with CaptureQueriesContext(connection) as captured:
            trigger_cache.refresh()
            # Whatever time these take.
            settings.DSN = {"RUNNER": "worker", "REFRESH_SECONDS": 60}
            for _ in range(4):
                trigger_cache.refresh()
        assert len(captured) == 1

    def test_threads_that_begin_together_ask_once_and_all_know(self, listen, settings):
        settings.DSN = {"RUNNER": "worker", "REFRESH_SECONDS": 60}
        listen("post_save", action_object=Country)
        trigger_cache.forget()
        barrier = threading.Barrier(5)
        seen = []

        def work():
            barrier.wait(10)
            connection.ensure_connection()
            seen.append(known())
            connections.close_all()

        threads = [threading.Thread(target=work) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert seen == [1] * 5

    def test_the_interval_begins_with_the_look_since_it_may_not_see_what_comes_during_it(self, settings, monkeypatch):
        settings.DSN = {"RUNNER": "worker", "REFRESH_SECONDS": 0.2}
        looks = []

        def slow(using, state=ConfigurationChange.state):
            looks.append(using)
            found = state(using)
            time.sleep(0.25)
            return found

        connection.ensure_connection()
        trigger_cache.refresh()
        time.sleep(0.25)
        monkeypatch.setattr(ConfigurationChange, "state", slow)
        trigger_cache.refresh()
        trigger_cache.refresh()
        assert len(looks) == 2

    def test_while_one_looks_others_go_on_and_who_is_patient_waits(self, settings, monkeypatch):
        settings.DSN = {"RUNNER": "worker", "REFRESH_SECONDS": 0}
        trigger_cache.refresh()
        state, is_looking, go_on = ConfigurationChange.state, threading.Event(), threading.Event()

        def slow(using):
            is_looking.set()
            go_on.wait(30)
            return state(using)

        monkeypatch.setattr(ConfigurationChange, "state", slow)

        def work(**given):
            trigger_cache.refresh(**given)
            connections.close_all()

        first = threading.Thread(target=work)
        first.start()
        assert is_looking.wait(10)
        patient = threading.Thread(target=work, kwargs={"patient": True})
        patient.start()
        trigger_cache.refresh()
        assert first.is_alive(), "this one did not wait"
        patient.join(0.2)
        assert patient.is_alive()
        go_on.set()
        first.join(30)
        patient.join(30)
        assert not patient.is_alive()

    def test_a_database_without_our_tables_is_asked_once_in_an_interval(self, settings, caplog):
        settings.DSN = {"RUNNER": "worker", "REFRESH_SECONDS": 60}
        with connection.schema_editor() as editor:
            editor.alter_db_table(ConfigurationChange, "dsn_core_configurationversion", "elsewhere")
            editor.alter_db_table(Trigger, "dsn_core_trigger", "triggers_elsewhere")
        try:
            trigger_cache.forget()
            trigger_cache.refresh()
            with CaptureQueriesContext(connection) as captured:
                trigger_cache.refresh()
                request_started.send(sender=None)
            assert len(captured) == 0
            assert known() is None
            with transaction.atomic():
                dsn_core.refresh()
                # The transaction is still good.
                Country.objects.create(code="de")
            assert Country.objects.count() == 1
            assert [record for record in caplog.records if record.levelname not in ("DEBUG", "INFO")] == []
        finally:
            with connection.schema_editor() as editor:
                editor.alter_db_table(Trigger, "triggers_elsewhere", "dsn_core_trigger")
                editor.alter_db_table(ConfigurationChange, "elsewhere", "dsn_core_configurationversion")
        dsn_core.refresh()
        assert known() == 0

    def test_unreadable_is_not_none_it_is_logged_once_counted_and_tried_again(self, settings, caplog, listen):
        """With a column missing: code that was deployed before migrate."""
        settings.DSN = {"RUNNER": "worker", "REFRESH_SECONDS": 0}
        trigger = listen("post_save", action_object=Country)
        before = errors["read"]
        with connection.schema_editor() as editor:
            editor.alter_db_table(Subscription, "dsn_core_subscription", "elsewhere")
        try:
            trigger_cache.forget()
            for code in ("de", "at", "ch"):
                Country.objects.create(code=code)
            assert known() is None
            assert errors["read"] >= before + 3
            said = [record for record in caplog.records if record.levelname == "ERROR"]
            assert len(said) == 1
            assert "run migrate" in said[0].getMessage()
            assert trigger_cache.problem
        finally:
            with connection.schema_editor() as editor:
                editor.alter_db_table(Subscription, "elsewhere", "dsn_core_subscription")
        Country.objects.create(code="fr")
        assert known() == 1
        assert not trigger_cache.problem
        assert Event.objects.filter(trigger_id=trigger.pk).count() == 1


#: A process that never asked its database anything. For each line that it reads, a copy of it (or itself, when it is
#: given the name) fires one kind of signal first, and prints the events' verbs.
FIRST_ACT = """
import asyncio, os, sys, threading, traceback
import django
django.setup()
from django.core import signals as core
from django.db import connections, transaction
from django.db.models import signals
from django.dispatch import Signal
import dsn_core
from dsn_core.models import Event
from tests.testapp.models import Movie

released = Signal()
dsn_core.register_signal("released", released)

def act(name):
    if name == "send":
        released.send(sender=None)
    elif name == "send_robust":
        released.send_robust(sender=None)
    elif name == "asend":
        asyncio.run(released.asend(sender=None))
    elif name == "asend_robust":
        asyncio.run(released.asend_robust(sender=None))
    elif name == "emit":
        assert dsn_core.emit("released") is not None
    elif name == "emit_many":
        assert None not in dsn_core.emit_many("released", [None, None])
    elif name == "request":
        core.request_started.send(sender=None)
    elif name == "thread":
        thread = threading.Thread(target=released.send, args=(None,))
        thread.start()
        thread.join()
    elif name == "atomic":
        with transaction.atomic():
            released.send(sender=None)
    elif name == "save":
        Movie(name="Solaris").save()
    elif name == "update":
        movie = Movie(pk=77, name="Stalker")
        movie._state.adding = False
        movie.save(force_update=True)
    elif name == "delete":
        Movie(pk=77).delete()
    elif name == "delete_many":
        Movie.objects.filter(pk=77).delete()

def answer(name):
    try:
        act(name)
        print(" ".join(sorted(Event.objects.values_list("verb", flat=True))), flush=True)
        for name in ("pre_save", "pre_delete", "m2m_changed", "post_save", "post_delete"):
            signal = getattr(signals, name)
            assert not any(key[0][1] == id(None) and "dsn" in str(key[0]) for key in signal.receivers), signal.receivers
        print("right", flush=True)
    except BaseException:
        print(repr(traceback.format_exc()), flush=True)
    connections.close_all()

for name in sys.argv[1:]:
    answer(name)
for line in sys.stdin:
    copy = os.fork()
    if not copy:
        answer(line.strip())
        os._exit(0)
    os.waitpid(copy, 0)
"""

ACTS = {
    "send": "released",
    "send_robust": "released",
    "asend": "released",
    "asend_robust": "released",
    "emit": "released",
    "emit_many": "released released",
    "request": "request_started",
    "thread": "released",
    "atomic": "released",
    "save": "post_save pre_save",
    "update": "post_save post_save pre_save",
    "delete": "post_delete pre_delete",
    "delete_many": "post_delete pre_delete",
}


@pytest.fixture
def all_listened(listen, released):
    for verb in ("pre_save", "post_save", "pre_delete", "post_delete"):
        listen(verb, action_object=Movie)
    listen("post_save", action_object=Movie, conditions=[("instance.name", "changed to", "Stalker")])
    listen("request_started")
    listen("released")
    with muted():
        Movie.objects.create(pk=77, name="Solaris")


@pytest.fixture(scope="module")
def copied():
    """The process that copies itself, by its database: all of its tests share it."""
    running = {}
    yield running
    for process in running.values():
        process.communicate(timeout=60)


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow_everywhere
@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.parametrize(("act", "verbs"), ACTS.items(), ids=ACTS)
def test_whatever_a_fresh_process_does_first_is_recorded(child_environment, all_listened, copied, act, verbs):
    name = child_environment["DSN_TEST_DATABASE_NAME"]
    if name not in copied:
        copied[name] = subprocess.Popen(
            [sys.executable, "-c", FIRST_ACT],
            env=child_environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    process = copied[name]
    process.stdin.write(f"{act}\n")
    process.stdin.flush()
    assert process.stdout.readline().strip() == verbs
    assert process.stdout.readline().strip() == "right"


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
@pytest.mark.parametrize("act", ["send", "save"])
def test_a_process_that_no_other_has_made_is_no_different(child_environment, all_listened, act):
    done = subprocess.run(
        [sys.executable, "-c", FIRST_ACT, act],
        env=child_environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [ACTS[act], "right"]


FROM_ZERO = """
import warnings
warnings.simplefilter("error")
import django
django.setup()
from django.core.management import call_command
from dsn_core.models import Event, Trigger
from django.contrib.auth.models import Group

call_command("migrate", verbosity=0)
for verb in ("post_save", "post_delete"):
    Trigger.objects.define(verb, action_object=Group).subscribe()
for verb in ("pre_migrate", "post_migrate", "class_prepared", "connection_created", "request_started"):
    Trigger.objects.define(verb).subscribe()
call_command("migrate", "testapp", "zero", verbosity=0)
call_command("migrate", verbosity=0)
assert Event.objects.filter(verb="post_migrate").exists()
# Away with our own tables, while everything is connected.
call_command("migrate", "dsn_core", "zero", verbosity=0)
Group.objects.create(name="staff")
call_command("migrate", verbosity=0)
Group.objects.create(name="more")
assert not Event.objects.filter(verb="post_save").exists()
print("fine")
"""


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_migrating_from_zero_and_back_is_quiet(child_environment, tmp_path):
    name = "dsn_from_zero" if connection.vendor != "sqlite" else str(tmp_path / "zero.sqlite3")
    quoted = connection.ops.quote_name(name)
    if connection.vendor != "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {quoted}")
            cursor.execute(f"CREATE DATABASE {quoted}")
    try:
        environment = child_environment | {"DSN_TEST_DATABASE_NAME": name}
        done = subprocess.run(
            [sys.executable, "-c", FROM_ZERO], env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == "fine"
    finally:
        if connection.vendor != "sqlite":
            with connection.cursor() as cursor:
                cursor.execute(f"DROP DATABASE {quoted}")


def test_getting_ready_asks_no_database_anything():
    # A server that is not there: asking it anything would be an error.
    code = "import warnings; warnings.simplefilter('error'); import django; django.setup(); print('ready')"
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings", "DSN_TEST_DATABASE": "postgresql"}
    environment |= {SERVICES["postgresql"].variable("PORT"): "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.stdout.strip(), done.returncode) == ("ready", 0), done.stderr
