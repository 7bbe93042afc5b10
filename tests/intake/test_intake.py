"""Recording: one INSERT in the caller's transaction, without harm to it."""

from __future__ import annotations

import contextlib
import logging
import threading

import pytest
from asgiref.sync import async_to_sync
from django.db import DatabaseError, InterfaceError, OperationalError, connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.dispatch import Signal
from django.test.utils import CaptureQueriesContext
from django.utils.functional import SimpleLazyObject

from dsn_core import BaseCodec, BaseMessageTemplate, Receipt, emit, register_signal
from dsn_core.intake.backlog import backlog
from dsn_core.intake.trouble import errors
from dsn_core.models import Delivery, Event, Trigger
from dsn_core.plugins.catalogue import catalogue
from dsn_core.runners import driver
from dsn_core.runners.immediate import ImmediateRunner
from dsn_core.signals import delivery_finished, event_recorded
from dsn_core.testing import MemoryMessenger
from tests.intake.refusing import CONFLICTS, PASSING
from tests.testapp.models import Country, Movie
from tests.undoing import undone


@pytest.fixture(autouse=True)
def worker(settings):
    settings.DSN = {"RUNNER": "worker"}


@pytest.fixture
def released():
    signal = Signal()
    register_signal("released", signal)
    yield signal
    catalogue.remove("released")


@pytest.fixture
def listen():
    def define(verb, **parts):
        trigger = Trigger.objects.define(verb, **parts)
        trigger.subscribe()
        return trigger

    return define


@pytest.fixture
def broken():
    """Every INSERT of an event fails, in the database."""
    real = Event._meta.db_table
    Event._meta.db_table = "no_such_table"
    yield
    Event._meta.db_table = real


def statements(captured):
    """The words at the beginning of all statements, several of one string as well."""
    return [part.split()[0] for query in captured.captured_queries for part in query["sql"].split("; ")]


@pytest.mark.django_db(transaction=True)
class TestTheRecord:
    def test_in_a_transaction_it_costs_an_insert_and_a_savepoint_where_that_needs_one(self, listen):
        listen("post_save", action_object=Country)
        listen("post_save", action_object=Country, target="")
        with transaction.atomic(), CaptureQueriesContext(connection) as captured:
            Country.objects.create(code="de")
        shielded = ["INSERT"] if connection.vendor == "sqlite" else ["SAVEPOINT", "INSERT", "RELEASE"]
        assert statements(captured) == ["INSERT", *shielded]
        assert len(captured) == (4 if connection.vendor == "mysql" else 2)

    def test_in_autocommit_it_costs_an_insert(self, listen):
        listen("post_save", action_object=Country)
        with CaptureQueriesContext(connection) as captured:
            Country.objects.create(code="de")
        assert [sql for sql in statements(captured) if sql != "NOTIFY"] == ["INSERT", "INSERT"]

    def test_all_triggers_of_one_signal_share_an_occurrence_and_a_payload(self, listen, released):
        movie = Movie.objects.create(name="M")
        triggers = [listen("released"), listen("released", action_object=Movie), listen("released", target="home")]
        occurrence = emit("released", action_object=movie, target="home")
        events = Event.objects.all()
        assert {event.trigger_id for event in events} == {trigger.pk for trigger in triggers}
        assert {(event.occurrence, event.depth, event.action_object) for event in events} == {(occurrence, 0, movie)}

    def test_a_rollback_takes_it_along(self, listen):
        listen("post_save", action_object=Country)
        with undone():
            Country.objects.create(code="de")
            assert Event.objects.count() == 1
        assert Event.objects.count() == 0

    def test_event_recorded_is_sent_and_survives_failing_receivers(self, listen):
        listen("post_save", action_object=Country)
        heard = []

        def hear(events, using, **kwargs):
            heard.extend(events)
            raise ZeroDivisionError

        event_recorded.connect(hear)
        try:
            Country.objects.create(code="de")
        finally:
            event_recorded.disconnect(hear)
        assert [event.pk for event in heard] == [Event.objects.get().pk]

    def test_a_failing_query_of_a_receiver_loses_no_event(self, listen):
        listen("post_save", action_object=Country)

        def fail(**kwargs):
            Country.objects.create(code="de")

        event_recorded.connect(fail)
        try:
            with transaction.atomic():
                Country.objects.create(code="de")
            Country.objects.create(code="at")
        finally:
            event_recorded.disconnect(fail)
        assert Country.objects.count() == Event.objects.count() == 2

    @pytest.mark.parametrize("statement", ["SELECT nothing FROM nowhere", "INSERT INTO nowhere VALUES (1)"])
    def test_a_failing_statement_of_a_receiver_loses_no_event(self, listen, statement):
        listen("post_save", action_object=Country)
        heard = []

        def fail(events, **kwargs):
            heard.extend(events)
            # Not by the ORM: Django does not know that this savepoint is lost.
            with connection.cursor() as cursor:
                cursor.execute(statement)

        event_recorded.connect(fail)
        try:
            with transaction.atomic():
                Country.objects.create(code="de")
                Country.objects.create(code="at")
        finally:
            event_recorded.disconnect(fail)
        assert Country.objects.count() == 2
        assert sorted(event.pk for event in heard) == sorted(Event.objects.values_list("pk", flat=True))
        assert len(heard) == 2

    def test_a_transaction_wakes_the_runner_once(self, listen, settings, monkeypatch):
        woken = []
        # The runner's own method: what stands between it and the intake is real.
        monkeypatch.setattr(ImmediateRunner, "wake", lambda self, using: woken.append(using))
        settings.DSN = {"RUNNER": "immediate"}
        listen("post_save", action_object=Country)
        with transaction.atomic():
            for number in range(5):
                Country.objects.create(code=str(number))
            with undone():
                Country.objects.create(code="x")
            assert woken == []
        assert woken == ["default"]
        Country.objects.create(code="y")
        assert woken == ["default"] * 2

    def test_a_runner_that_cannot_be_woken_is_not_the_callers_trouble(self, listen, settings, caplog):
        settings.DSN = {"RUNNER": "nonsense"}
        listen("post_save", action_object=Country)
        Country.objects.create(code="de")
        assert Event.objects.count() == 1
        assert "a worker will find the work" in caplog.text


@pytest.mark.django_db
def test_callbacks_that_a_test_runs_wake_the_runner_each_time(
    listen, settings, monkeypatch, django_capture_on_commit_callbacks
):
    woken = []
    monkeypatch.setattr(ImmediateRunner, "wake", lambda self, using: woken.append(using))
    settings.DSN = {"RUNNER": "immediate"}
    listen("post_save", action_object=Country)
    Country.objects.create(code="de")
    for code in ("at", "ch"):
        with django_capture_on_commit_callbacks(execute=True):
            Country.objects.create(code=code)
    assert woken == ["default"] * 2


@pytest.mark.django_db(transaction=True)
class TestTrouble:
    def test_a_failing_insert_is_logged_once_with_the_trigger_and_the_caller_goes_on(self, listen, broken, caplog):
        trigger = listen("post_save", action_object=Country)
        before = errors["intake"]
        with transaction.atomic():
            Country.objects.create(code="de")
            Country.objects.create(code="at")
        assert Country.objects.count() == 2
        assert errors["intake"] == before + 2
        logged = [record for record in caplog.records if record.levelno >= logging.ERROR]
        assert len(logged) == 2
        assert str(trigger) in logged[0].getMessage()

    def test_a_failing_insert_in_autocommit_leaves_the_row(self, listen, broken):
        listen("post_save", action_object=Country)
        Country.objects.create(code="de")
        assert Country.objects.count() == 1

    def test_strict_raises(self, listen, broken, settings):
        settings.DSN = {"RUNNER": "worker", "STRICT": True}
        listen("post_save", action_object=Country)
        with pytest.raises(DatabaseError), transaction.atomic():
            Country.objects.create(code="de")
        assert Country.objects.count() == 0

    def test_a_trigger_that_another_connection_has_deleted_fails_no_commit(self, listen):
        trigger = listen("post_save", action_object=Country)

        def delete():
            # Not by the ORM: this process must not notice.
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM dsn_core_subscription WHERE trigger_id = %s", [trigger.pk])
                cursor.execute("DELETE FROM dsn_core_trigger WHERE id = %s", [trigger.pk])
            connections.close_all()

        thread = threading.Thread(target=delete)
        thread.start()
        thread.join(30)
        assert not Trigger.objects.exists()
        with transaction.atomic():
            Country.objects.create(code="de")
        assert Country.objects.count() == 1
        assert driver.drain("default").events == 1

    def test_a_codec_that_raises_costs_its_value_and_no_more(self, listen, dsn):
        class Odd:
            pass

        class OddCodec(BaseCodec):
            name = "odd"
            python_type = Odd

            def encode(self, value):
                raise ZeroDivisionError("on purpose")

            def decode(self, data):
                raise AssertionError("nothing was stored")

        dsn.add(OddCodec)
        listen("post_save", action_object=Country)
        emit("post_save", action_object=Country(code="de"), odd=Odd(), even=2)
        kwargs = Event.objects.get().signal_kwargs
        assert repr(kwargs["odd"]) == "<not stored: odd, Odd: cannot be stored, ZeroDivisionError>"
        assert kwargs["even"] == 2

    def test_an_error_of_the_database_that_a_codec_swallows_is_still_an_error(self, listen, dsn, caplog):
        class Odd:
            pass

        class QueryingCodec(BaseCodec):
            name = "querying"
            python_type = Odd

            def encode(self, value):
                Country.objects.create(code="de")

            def decode(self, data):
                raise AssertionError("nothing was stored")

        dsn.add(QueryingCodec)
        listen("post_delete", action_object=Country)
        with transaction.atomic():
            Country.objects.create(code="de")
            assert emit("post_delete", action_object=Country, odd=Odd()) is None
            Country.objects.create(code="at")
        assert (Country.objects.count(), Event.objects.count()) == (2, 0)
        assert "its event is not recorded" in caplog.text

    @pytest.mark.parametrize("name", ["a\0b \ud800", "x" * 10_000_000], ids=["nul and surrogate", "oversized"])
    def test_values_that_no_column_would_take_fail_no_event(self, listen, released, name, caplog, monkeypatch):
        monkeypatch.setattr("dsn_core.intake.record._said", set())
        listen("released")
        with transaction.atomic():
            Country.objects.create(code="de")
            released.send(sender=None, instance=Movie(pk=7, name=name), also=name)
        assert Country.objects.count() == 1
        event = Event.objects.get()
        assert event.action_object.pk == 7
        if len(name) < 100:
            assert event.action_object.name == event.signal_kwargs["also"] == name
            assert caplog.text == ""
        else:
            assert "too large to store" in repr(event.action_object.name)
            assert "is recorded without 'also' (str: too large to store" in caplog.text

    def test_a_signal_whose_matching_fails_is_logged(self, listen, caplog, settings, released):
        def evil():
            raise ZeroDivisionError("on purpose")

        listen("released", actor_object=Country)
        released.send(sender=None, actor_object=SimpleLazyObject(evil))
        assert "Signal released could not be matched" in caplog.text
        settings.DSN = {"RUNNER": "worker", "STRICT": True}
        with pytest.raises(ZeroDivisionError):
            released.send(sender=None, actor_object=SimpleLazyObject(evil))

    @pytest.mark.parametrize("part", ["actor_object", "target"])
    def test_a_transaction_that_matching_has_lost_is_the_callers_to_know(
        self, listen, released, part, django_user_model
    ):
        if connection.vendor != "postgresql":
            pytest.skip("only PostgreSQL gives a transaction up after a failing statement")
        listen("released", actor_object=django_user_model.objects.create(username="ann"))
        listen("released", target="stage")
        given = {"actor_object": SimpleLazyObject(_failing_query), "target": Querying(_failing_query)}

        @transaction.atomic
        def work():
            Country.objects.create(code="de")
            released.send(sender=None, **{part: given[part]})
            pytest.fail("the caller was not told")

        with pytest.raises(DatabaseError):
            work()
        assert (Country.objects.count(), Event.objects.count()) == (0, 0)

    @pytest.mark.parametrize("part", ["actor_object", "target"])
    def test_a_query_that_fails_in_a_savepoint_of_its_own_while_matching_costs_the_event_only(
        self, listen, released, part, django_user_model, caplog
    ):
        def careful():
            with transaction.atomic():
                _failing_query()

        listen("released", actor_object=django_user_model.objects.create(username="ann"))
        listen("released", target="stage")
        given = {"actor_object": SimpleLazyObject(careful), "target": Querying(careful)}
        with transaction.atomic():
            Country.objects.create(code="de")
            released.send(sender=None, **{part: given[part]})
        assert (Country.objects.count(), Event.objects.count()) == (1, 0)
        assert "Signal released could not be matched" in caplog.text

    def test_a_transaction_that_is_lost_already_is_left_alone(self, listen, released):
        listen("released")
        with transaction.atomic():
            transaction.set_rollback(True)
            with CaptureQueriesContext(connection) as captured:
                released.send(sender=None)
            assert len(captured) == 0
        assert Event.objects.count() == 0

    def test_a_connection_that_dies_in_a_transaction_is_the_callers_to_know(self, listen, released):
        if connection.vendor == "sqlite":
            pytest.skip("a file has no connection that dies")
        listen("released")
        sent = []

        @transaction.atomic
        def work():
            Country.objects.create(code="de")
            _kill(connection)
            sent.append("before")
            released.send(sender=None)
            sent.append("after")

        with pytest.raises((OperationalError, InterfaceError)):
            work()
        assert sent == ["before"]
        connection.close()
        assert Country.objects.count() == 0

    def test_a_connection_that_dies_while_recording_is_the_callers_to_know(self, listen, released):
        if connection.vendor == "sqlite":
            pytest.skip("a file has no connection that dies")
        listen("released")

        def die(**kwargs):
            _kill(connection)

        @transaction.atomic
        def work():
            Country.objects.create(code="de")
            released.send(sender=None)
            pytest.fail("the caller was not told")

        event_recorded.connect(die)
        try:
            with pytest.raises((DatabaseError, InterfaceError)):
                work()
        finally:
            event_recorded.disconnect(die)
        connection.close()
        assert Country.objects.count() == 0

    def test_a_connection_that_dies_in_autocommit_costs_nothing(self, listen, released):
        """It is the caller's to open again; the event goes by another one."""
        if connection.vendor == "sqlite":
            pytest.skip("a file has no connection that dies")
        listen("released")
        Country.objects.create(code="de")
        _kill(connection)
        released.send(sender=None)
        assert backlog.wait(30)
        connection.close()
        assert (Country.objects.count(), Event.objects.count()) == (1, 1)

    def test_a_deadlock_while_recording_is_the_callers_to_know(self, listen, released):
        if connection.vendor != "mysql":
            pytest.skip("only MariaDB and MySQL roll back the whole transaction by themselves")
        Country.objects.bulk_create([Country(code=f"{number:02}") for number in range(60)])
        listen("released")
        holds, goes_on = threading.Event(), threading.Event()

        def heavier():
            with transaction.atomic():
                Country.objects.exclude(code="00").update(password="theirs")
                holds.set()
                goes_on.wait(30)
                Country.objects.filter(code="00").update(password="theirs")
            connections.close_all()

        @transaction.atomic
        def work():
            Country.objects.filter(code="00").update(password="ours")
            released.send(sender=None)
            pytest.fail("the caller was not told")

        def meet(**kwargs):
            goes_on.set()
            Country.objects.filter(code="01").update(password="ours")

        thread = threading.Thread(target=heavier)
        thread.start()
        assert holds.wait(30)
        event_recorded.connect(meet)
        try:
            with pytest.raises(DatabaseError):
                work()
        finally:
            event_recorded.disconnect(meet)
            thread.join(30)
        assert set(Country.objects.values_list("password", flat=True)) == {"theirs"}
        assert Event.objects.count() == 0

    def test_send_in_an_async_context_says_what_to_do(self, listen, released, caplog, settings):
        listen("released")

        async def view():
            released.send(sender=None)

        async_to_sync(view)()
        assert "Use 'await signal.asend()'" in caplog.text
        assert Event.objects.count() == 0

        async def better_view():
            await released.asend(sender=None)

        async_to_sync(better_view)()
        assert Event.objects.count() == 1


class Querying:
    """Its text needs a query."""

    def __init__(self, ask):
        self.ask = ask

    def __str__(self):
        return str(self.ask())


def _failing_query():
    with connection.cursor() as cursor:
        cursor.execute("SELECT nothing FROM nowhere")


def _kill(victim):
    """End the connection from another one, as an administrator or a fail-over does."""
    with victim.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()" if victim.vendor == "postgresql" else "SELECT CONNECTION_ID()")
        (number,) = cursor.fetchone()
    killer = victim.copy()
    try:
        with killer.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)" if victim.vendor == "postgresql" else "KILL %s", [number])
    finally:
        killer.close()


@pytest.fixture
def other(transactional_db, tmp_path):
    """A second database, with a table of the project and none of ours."""
    alias = "other"
    entry = {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "other.sqlite3"}
    configured = connections.configure_settings({"default": {}, alias: entry})[alias]
    # Another database than those that Django's test cases guard.
    guard = BaseDatabaseWrapper.ensure_connection
    BaseDatabaseWrapper.ensure_connection = lambda self: (
        (self.connection is None and self.connect()) if self.alias == alias else guard(self)
    )
    connections.settings[alias] = configured
    try:
        with connections[alias].schema_editor() as editor:
            editor.create_model(Country)
        yield alias
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.settings[alias]
        BaseDatabaseWrapper.ensure_connection = guard


class TestAnotherDatabase:
    def test_its_changes_are_recorded_after_its_commit(self, listen, other):
        listen("post_save", action_object=Country)
        with transaction.atomic(using=other):
            country = Country.objects.using(other).create(code="de")
            assert Event.objects.count() == 0
            country.password = country.code = "changed later"
        (event,) = Event.objects.all()
        assert event.action_object.code == "de"
        assert event.action_object._state.db == other

    def test_its_changes_are_not_recorded_after_its_rollback(self, listen, other):
        listen("post_save", action_object=Country)
        with undone(using=other):
            Country.objects.using(other).create(code="de")
        assert Event.objects.count() == 0

    def test_a_savepoint_that_is_rolled_back_there_takes_its_own(self, listen, other):
        listen("post_save", action_object=Country)
        with transaction.atomic(using=other):
            Country.objects.using(other).create(code="de")
            with undone(using=other):
                Country.objects.using(other).create(code="at")
        assert [event.action_object.code for event in Event.objects.all()] == ["de"]

    def test_in_autocommit_they_are_recorded_at_once(self, listen, other):
        listen("post_save", action_object=Country)
        Country.objects.using(other).create(code="de")
        assert Event.objects.count() == 1

    def test_a_delete_there_still_has_its_object(self, listen, other):
        listen("post_delete", action_object=Country)
        country = Country.objects.using(other).create(code="de")
        country.delete()
        assert Event.objects.get().action_object.code == "de"

    def test_emit_can_name_it(self, listen, other, released):
        listen("released")
        with transaction.atomic(using=other):
            assert emit("released", using=other) is not None
            assert Event.objects.count() == 0
        assert Event.objects.count() == 1

    @pytest.mark.parametrize("refused", [*PASSING, *([] if connection.vendor == "sqlite" else CONFLICTS)])
    @pytest.mark.parametrize("is_open", [False, True])
    def test_what_is_refused_after_its_commit_is_recorded_later(self, listen, other, database, refused, is_open):
        """Nobody would hear of an error by then: it comes in a callback of the other database."""
        listen("post_save", action_object=Country)
        database.refuse(refused, times=1)
        with transaction.atomic() if is_open else contextlib.nullcontext():
            with transaction.atomic(using=other):
                Country.objects.using(other).create(code="de")
            assert Event.objects.count() == (0 if is_open else 1)
        assert [event.action_object.code for event in Event.objects.all()] == ["de"]

    def test_a_failure_after_its_commit_is_logged(self, listen, other, broken, caplog):
        listen("post_save", action_object=Country)
        with transaction.atomic(using=other):
            Country.objects.using(other).create(code="de")
        assert Country.objects.using(other).count() == 1
        assert "its event is not recorded" in caplog.text

    def test_strict_raises_it_after_its_commit(self, listen, other, broken, settings):
        settings.DSN = {"RUNNER": "worker", "STRICT": True}
        listen("post_save", action_object=Country)

        @transaction.atomic(using=other)
        def work():
            Country.objects.using(other).create(code="de")

        with pytest.raises(DatabaseError):
            work()
        assert Country.objects.using(other).count() == 1


class PlainTemplate(BaseMessageTemplate):
    name = "plain"
    template_string = "released"


@pytest.mark.django_db
class TestLoops:
    def drain(self):
        """As a worker would, but never without end."""
        driver.drain("default", stop=lambda: Event.objects.count() > 20)
        assert Event.objects.count() <= 20, "it does not come to an end"

    def test_a_messenger_that_fires_the_signal_again_comes_to_an_end(self, dsn, released, settings, caplog, people):
        class Echo(MemoryMessenger):
            name = "echo"

            def send_messages(self, messages):
                released.send(sender=None)
                return [Receipt.sent() for _ in messages]

        dsn.add(Echo, PlainTemplate)
        settings.DSN = {"RUNNER": "worker", "MAX_DEPTH": 2}
        Trigger.objects.define("released").subscribe(users=people[:1], backends=[("echo", "plain")])
        released.send(sender=None)
        self.drain()
        assert sorted(Event.objects.values_list("depth", flat=True)) == [0, 1, 2]
        assert Delivery.objects.filter(status=Delivery.Status.SENT).count() == 3
        assert "messages cause one another in a loop" in caplog.text

    def test_a_receiver_of_deliveries_that_fires_the_signal_again_comes_to_an_end(
        self, dsn, released, settings, caplog, people
    ):
        dsn.add(PlainTemplate)
        settings.DSN = {"RUNNER": "worker", "MAX_DEPTH": 2}
        Trigger.objects.define("released").subscribe(users=people[:1], backends=[("memory", "plain")])

        def again(**kwargs):
            released.send(sender=None)

        delivery_finished.connect(again)
        try:
            released.send(sender=None)
            self.drain()
        finally:
            delivery_finished.disconnect(again)
        assert sorted(Event.objects.values_list("depth", flat=True)) == [0, 1, 2]
        assert "messages cause one another in a loop" in caplog.text


@pytest.fixture
def people(django_user_model):
    return [django_user_model.objects.create(username=name, email=f"{name}@example.org") for name in ("ann", "bob")]
