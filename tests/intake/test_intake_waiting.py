"""What the database does not take just now is taken later, once, and only if the caller's transaction was committed.

The database refuses by a stand-in, with the errors of its driver; `faults/test_refusals.py` has real locks.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys

import pytest
from django.db import OperationalError, connection, transaction
from django.db.utils import DatabaseError, IntegrityError
from django.dispatch import Signal
from django.test.utils import CaptureQueriesContext
from django.utils.functional import SimpleLazyObject

from dsn_core import emit, emit_many, register_signal
from dsn_core.intake import backlog as backlogs
from dsn_core.intake import waiting
from dsn_core.intake.backlog import backlog
from dsn_core.intake.trouble import errors
from dsn_core.models import Event, Trigger
from dsn_core.plugins.catalogue import catalogue
from dsn_core.signals import event_recorded, events_dropped
from tests.intake.codecs import Odd, codec_that
from tests.intake.refusing import CONFLICTS, PASSING, error_of
from tests.testapp.models import Country, Movie
from tests.undoing import undone
from tests.waiting import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]


@pytest.fixture(autouse=True)
def released(settings, transactional_db):
    """A signal that a trigger listens to, and no runner."""
    settings.DSN = {"RUNNER": "worker"}
    signal = Signal()
    register_signal("released", signal)
    Trigger.objects.define("released").subscribe()
    yield signal
    catalogue.remove("released")


def names():
    connection.close()
    return [event.signal_kwargs["name"] for event in Event.objects.order_by("id")]


def inserts(captured):
    table = Event._meta.db_table
    return [
        query["sql"]
        for query in captured.captured_queries
        if f"INTO {connection.ops.quote_name(table)}" in query["sql"]
    ]


@pytest.mark.parametrize("name", PASSING)
class TestInATransaction:
    def test_its_events_are_one_insert_after_its_commit(self, released, database, name):
        database.refuse(name, times=1)
        with CaptureQueriesContext(connection) as captured:
            with transaction.atomic():
                Country.objects.create(code="de")
                for number in range(3):
                    released.send(sender=None, name=number)
                assert inserts(captured) == []
            assert len(inserts(captured)) == 1
        assert database.tries == 2, "the second signal did not wait for the lock again"
        assert names() == [0, 1, 2]
        assert Country.objects.count() == 1

    def test_a_rollback_takes_them_along(self, released, database, name):
        database.refuse(name, times=1)
        with undone():
            released.send(sender=None, name=0)
        assert names() == []
        with transaction.atomic():
            released.send(sender=None, name=1)
            assert Event.objects.count() == 1, "the next transaction is another one"
        assert names() == [1]

    def test_a_savepoint_that_is_rolled_back_takes_its_own(self, released, database, name):
        database.refuse(name, times=1)
        with transaction.atomic():
            with undone():
                released.send(sender=None, name="undone first")
            with transaction.atomic():
                released.send(sender=None, name="kept")
                with undone():
                    released.send(sender=None, name="undone within")
                released.send(sender=None, name="kept after it")
            with undone(), transaction.atomic():
                released.send(sender=None, name="released, then undone")
            released.send(sender=None, name="last")
            with undone():
                released.send(sender=None, name="undone last")
        assert names() == ["kept", "kept after it", "last"]
        assert database.tries == 2

    def test_of_which_nothing_survives_there_is_no_insert(self, released, database, name):
        database.refuse(name, times=1)
        with transaction.atomic(), undone():
            released.send(sender=None, name=0)
        assert (names(), database.tries) == ([], 1)

    def test_a_callback_that_raises_costs_none(self, released, database, name):
        """Not being robust, it keeps Django from calling those that were registered after it."""

        def fail():
            raise ZeroDivisionError

        database.refuse(name, times=1)
        with contextlib.suppress(ZeroDivisionError), transaction.atomic():
            transaction.on_commit(fail)
            released.send(sender=None, name=0)
            with transaction.atomic():
                released.send(sender=None, name=1)
            transaction.on_commit(lambda: pytest.fail("Django goes on"))
        assert names() == [0, 1]

    def test_the_callers_transaction_goes_on(self, released, database, name, caplog):
        database.refuse(name, times=1)
        with transaction.atomic():
            Country.objects.create(code="de")
            assert emit("released", name=0) is not None
            Country.objects.create(code="at")
        assert (Country.objects.count(), names()) == (2, [0])
        assert caplog.text.count("Events are recorded after the commit") == 1

    def test_what_the_commit_does_not_bring_either_is_left_to_the_thread(self, released, database, name, monkeypatch):
        monkeypatch.setattr(waiting, "PATIENCE", 0.1)
        database.refuse(name)
        with transaction.atomic():
            released.send(sender=None, name=0)
            with undone():
                released.send(sender=None, name=1)
        assert (names(), backlog.is_busy()) == ([], True)
        database.error = None
        assert backlog.wait(30)
        assert names() == [0]

    def test_strict_raises(self, released, database, name, settings):
        settings.DSN = {"RUNNER": "worker", "STRICT": True}
        database.refuse(name)
        with pytest.raises(OperationalError), transaction.atomic():
            released.send(sender=None, name=0)
        assert (names(), backlog.is_busy()) == ([], False)

    def test_that_the_project_manages_itself_its_events_are_dropped_whole(self, released, database, name, caplog):
        database.refuse(name, times=1)
        transaction.set_autocommit(False)
        try:
            Country.objects.create(code="de")
            released.send(sender=None, name=0)
            transaction.commit()
        finally:
            transaction.rollback()
            transaction.set_autocommit(True)
        assert (Country.objects.count(), names()) == (1, [])
        assert restored(caplog) == 1
        assert names() == [0]


def test_a_test_that_runs_what_is_to_be_done_on_commit_sees_them(
    released, database, django_capture_on_commit_callbacks
):
    database.refuse(PASSING[0], times=1)
    with transaction.atomic():
        with django_capture_on_commit_callbacks(execute=True):
            released.send(sender=None, name=0)
        assert Event.objects.count() == 1
    assert Event.objects.count() == 1


@pytest.mark.skipif(connection.vendor == "sqlite", reason="a file has one writer: no two conflict")
@pytest.mark.parametrize("name", CONFLICTS)
class TestAConflict:
    def test_is_raised_in_a_transaction_which_run_again_saves_both(self, released, database, name):
        database.refuse(name, times=1)

        @transaction.atomic
        def work():
            Country.objects.create(code="de")
            released.send(sender=None, name=0)

        with pytest.raises(OperationalError):
            work()
        assert (Country.objects.count(), names()) == (0, [])
        work()
        assert (Country.objects.count(), names()) == (1, [0])

    def test_is_tried_again_in_place_outside_of_one(self, released, database, name):
        database.refuse(name, times=2)
        released.send(sender=None, name=0)
        assert (names(), database.tries) == ([0], 3)

    @pytest.mark.parametrize("where", ["argument", "argument, in other words", "matching", "listener"])
    def test_that_a_query_within_met_is_raised_too(self, released, dsn, name, where, django_user_model):
        def fail(*args, **kwargs):
            if "words" in where:
                raise LookupError(name) from error_of(name)
            raise error_of(name)

        given = {}
        if where.startswith("argument"):
            dsn.add(codec_that(fail))
            given = {"odd": Odd()}
        elif where == "matching":
            Trigger.objects.define("released", actor_object=django_user_model.objects.create(username="a")).subscribe()
            given = {"actor_object": SimpleLazyObject(fail)}
        else:
            event_recorded.connect(fail)

        @transaction.atomic
        def work():
            Country.objects.create(code="de")
            released.send(sender=None, **given)

        try:
            with pytest.raises((OperationalError, LookupError)):
                work()
        finally:
            event_recorded.disconnect(fail)
        assert (Country.objects.count(), Event.objects.count()) == (0, 0)

    def test_that_reading_the_row_before_a_change_met_is_raised_too(self, name):
        Trigger.objects.define("post_save", action_object=Movie, conditions=[("instance.name", "changed")]).subscribe()
        movie = Movie.objects.create(name="M")

        def fail(execute, sql, *args):
            if sql.startswith("SELECT"):
                raise error_of(name)
            return execute(sql, *args)

        movie.name = "N"
        with pytest.raises(OperationalError), transaction.atomic(), connection.execute_wrapper(fail):
            movie.save()
        assert Movie.objects.get().name == "M"


@pytest.mark.parametrize("name", PASSING)
class TestOutsideOfATransaction:
    def test_it_is_tried_again_in_place(self, released, database, name):
        database.refuse(name, times=2)
        Country.objects.create(code="de")
        occurrence = emit("released", name=0)
        assert (names(), database.tries) == ([0], 3)
        assert Event.objects.get().occurrence == occurrence

    def test_so_is_an_argument_that_a_query_is_needed_for(self, released, dsn, name):
        answers = [error_of(name), None]

        def encode():
            if (answer := answers.pop(0)) is not None:
                raise answer
            return "read"

        dsn.add(codec_that(encode))
        occurrence = emit("released", odd=Odd(), name=0)
        assert (names(), answers) == ([0], [])
        assert Event.objects.get().occurrence == occurrence

    def test_then_it_is_left_to_the_thread(self, released, database, name, monkeypatch):
        monkeypatch.setattr(waiting, "PATIENCE", 0.1)
        database.refuse(name)
        occurrence = emit("released", name=0)
        tries = database.tries
        assert tries > 1
        emit("released", name=1)
        assert backlog.is_busy()
        database.error = None
        assert backlog.wait(30)
        assert names() == [0, 1]
        assert Event.objects.first().occurrence is not None
        assert occurrence in Event.objects.values_list("occurrence", flat=True)

    def test_while_others_wait_no_event_waits_in_place(self, released, database, name, monkeypatch):
        monkeypatch.setattr(waiting, "PATIENCE", 0.0)
        monkeypatch.setattr(backlogs, "FIRST_PAUSE", 30.0)
        monkeypatch.setattr(backlogs, "LAST_PAUSE", 30.0)
        database.refuse(name)
        emit("released", name=0)
        # The thread makes its one attempt at any moment; after that, nobody asks the database.
        wait_for(lambda: database.tries >= 2)
        tries = database.tries
        for number in range(1, 4):
            emit("released", name=number)
        with transaction.atomic():
            assert Event.objects.count() == 0
        assert database.tries == tries
        database.error = None
        backlog.end()
        assert names() == [0, 1, 2, 3]
        assert not backlog.is_busy()

    def test_what_no_waiting_mends_is_not_waited_for(self, released, database, name, caplog):
        database.error = IntegrityError("on purpose")
        assert emit("released", name=0) is None
        assert database.tries == 1
        assert "its event is not recorded" in caplog.text


def restored(caplog):
    """Make the events again that the log says were dropped, and return how many."""
    lines = [record.getMessage() for record in caplog.records if "An event is dropped" in record.getMessage()]
    for line in lines:
        Event.objects.create(**json.loads(line.partition("): ")[2]))
    return len(lines)


class TestTheThread:
    @pytest.fixture(autouse=True)
    def at_once(self, monkeypatch):
        monkeypatch.setattr(waiting, "PATIENCE", 0.0)

    @pytest.fixture
    def told(self):
        said = []

        def hear(events, using, reason, **kwargs):
            said.append(([event.signal_kwargs["name"] for event in events], using, reason))

        events_dropped.connect(hear)
        yield said
        events_dropped.disconnect(hear)

    def test_ends_when_nothing_waits_and_begins_again(self, released, database):
        for number in range(2):
            database.refuse(PASSING[0])
            emit("released", name=number)
            database.error = None
            assert backlog.wait(30)
            assert backlog._thread is None
        assert names() == [0, 1]

    @pytest.mark.parametrize("bound", ["MAX_EVENTS", "MAX_CHARACTERS"])
    def test_is_bounded_and_what_it_drops_is_logged_counted_and_told(
        self, released, database, told, caplog, monkeypatch, bound
    ):
        monkeypatch.setattr(backlogs, bound, 2 if bound == "MAX_EVENTS" else 10_000)
        padding = "x" * 4_000
        before = errors["dropped"]
        database.refuse(PASSING[0])
        for number in range(4):
            emit("released", name=number, padding=padding)
        database.error = None
        assert backlog.wait(30)
        assert names() == [0, 1]
        assert errors["dropped"] == before + 2
        assert [item[0] for item in told] == [[2], [3]]
        assert {item[1] for item in told} == {"default"}
        assert "no room is left to wait" in told[0][2]
        assert restored(caplog) == 2
        assert names() == [0, 1, 2, 3]
        assert Event.objects.latest("id").signal_kwargs["padding"] == padding

    def test_gives_up_what_has_waited_too_long(self, released, database, told, caplog, monkeypatch):
        monkeypatch.setattr(backlogs, "MAX_SECONDS", 0.0)
        database.refuse(PASSING[0])
        emit("released", name=0)
        assert backlog.wait(30)
        assert (names(), [item[0] for item in told]) == ([], [[0]])
        database.error = None
        assert restored(caplog) == 1
        assert names() == [0]

    def test_an_error_that_stays_costs_its_own_events_only(self, released, database, told, monkeypatch):
        monkeypatch.setattr(backlogs, "FIRST_PAUSE", 0.01)
        real = database.real

        def write(events, using):
            if '"name":1' in events[0].payload:
                raise IntegrityError("on purpose")
            real(events, using)

        database.real = write
        database.refuse(PASSING[0])
        for number in range(3):
            emit("released", name=number)
        database.error = None
        assert backlog.wait(30)
        assert (names(), [item[0] for item in told]) == ([0, 2], [[1]])

    def test_a_receiver_of_events_dropped_may_raise(self, released, database):
        def fail(**kwargs):
            raise ZeroDivisionError

        backlog.end()
        events_dropped.connect(fail)
        try:
            database.refuse(PASSING[0], times=2)
            assert emit("released", name=0) is not None
        finally:
            events_dropped.disconnect(fail)

    def test_after_the_process_has_ended_them_they_are_dropped(self, released, database, told):
        """As by what is registered for the end of the process, too, and comes after us."""
        backlog.end()
        database.refuse(PASSING[0])
        emit("released", name=0)
        assert [item[0] for item in told] == [[0]]
        assert not backlog.is_busy()

    def test_takes_what_is_larger_than_all_its_room_where_nothing_else_waits(
        self, released, database, told, monkeypatch
    ):
        monkeypatch.setattr(backlogs, "MAX_EVENTS", 2)
        database.refuse(PASSING[0])
        emit_many("released", [Movie(pk=number, name=str(number)) for number in range(3)], name="many")
        emit("released", name="one more")
        database.error = None
        assert backlog.wait(30)
        assert (names(), [item[0] for item in told]) == (["many"] * 3, [["one more"]])

    @pytest.mark.skipif(connection.vendor == "sqlite", reason="a file's answer is not lost")
    def test_what_was_recorded_although_the_answer_was_lost_is_not_recorded_twice(self, released, database):
        real, answers = database.real, ["lost"]

        def write(events, using):
            real(events, using)
            if answers:
                raise error_of(answers.pop())

        database.real = write
        emit("released", name=0)
        assert backlog.wait(30)
        assert (names(), answers) == ([0], [])

    def test_where_no_thread_can_be_started_they_are_dropped(self, released, database, told, monkeypatch):
        def cannot(self):
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr("threading.Thread.start", cannot)
        database.refuse(PASSING[0])
        emit("released", name=0)
        assert [item[0] for item in told] == [[0]]
        assert not backlog.is_busy()


#: Processes whose events wait when something happens to them.
PROCESS = """
import os, sys, time
import django
django.setup()
from django.db import OperationalError, connection
from dsn_core import emit, register_signal
from dsn_core.intake import backlog as backlogs, storing, waiting
from dsn_core.models import Event, Trigger
from django.dispatch import Signal
from tests.intake.refusing import Database, PASSING
waiting.PATIENCE = 0.0
register_signal("released", Signal())
database = Database(storing.write)
storing.write = database.write
database.refuse(PASSING[0])
"""
ENDS = """
backlogs.EXIT_SECONDS = 0.5
emit("released", name=0)
"""
ENDS_IN_TIME = """
import threading
emit("released", name=0)
threading.Timer(0.3, lambda: setattr(database, "error", None)).start()
"""
FORKS = """
emit("released", name=0)
connection.close()
pid = os.fork()
if not pid:
    busy = backlogs.backlog.is_busy()
    database.error = None
    emit("released", name=1)
    database.refuse(PASSING[0])
    emit("released", name=2)
    database.error = None
    os._exit(10 + busy if backlogs.backlog.wait(20) else 20)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 10
database.error = None
assert backlogs.backlog.wait(20)
"""


def run(code, environment):
    done = subprocess.run(
        [sys.executable, "-c", PROCESS + code],
        env=environment | {"DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


class TestAProcess:
    def test_that_ends_logs_what_it_takes_along(self, child_environment):
        said = run(ENDS, child_environment)
        assert names() == []
        (line,) = [line for line in said.splitlines() if "An event is dropped" in line]
        assert "the process ends" in line
        Event.objects.create(**json.loads(line.partition("): ")[2]))
        assert names() == [0]

    def test_that_ends_waits_a_bounded_time_for_what_waits(self, child_environment):
        assert "An event is dropped" not in run(ENDS_IN_TIME, child_environment)
        assert names() == [0]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="cannot fork")
    def test_that_forks_hands_nothing_on(self, child_environment):
        run(FORKS, child_environment)
        assert sorted(names()) == [0, 1, 2]


class TestLimits:
    @pytest.mark.skipif(connection.vendor == "sqlite", reason="a file has no statement that takes long by itself")
    def test_a_statement_takes_no_longer(self):
        from dsn_core import savepoints

        sleep = "SELECT pg_sleep(20)" if connection.vendor == "postgresql" else "SELECT SLEEP(20) FROM dsn_core_trigger"
        with contextlib.suppress(DatabaseError), savepoints.limited(connection, 0.2), connection.cursor() as cursor:
            cursor.execute(sleep)
            # MariaDB's own SLEEP() returns 1 where it was cut short.
            assert cursor.fetchone()[0] == 1

    def test_the_callers_own_limits_are_as_before(self):
        from dsn_core import savepoints

        def limit():
            with connection.cursor() as cursor:
                cursor.execute(
                    {
                        "sqlite": "PRAGMA busy_timeout",
                        "postgresql": "SHOW statement_timeout",
                        "mysql": "SELECT @@SESSION.max_statement_time",
                    }[connection.vendor]
                )
                return cursor.fetchone()[0]

        before = limit()
        with savepoints.limited(connection, 0.3):
            within = limit()
        with contextlib.suppress(ZeroDivisionError), savepoints.limited(connection, 0.3):
            raise ZeroDivisionError
        assert (limit(), within == before) == (before, False)


@pytest.mark.skipif(connection.vendor == "sqlite", reason="a file has one writer: no two conflict")
def test_a_conflict_of_a_receiver_costs_no_event_where_the_transaction_is_not_run_again(released):
    def fail(**kwargs):
        raise error_of("deadlock")

    event_recorded.connect(fail)
    try:
        assert emit("released", name=0) is not None
    finally:
        event_recorded.disconnect(fail)
    assert names() == [0]


def test_events_of_the_thread_stand_where_they_stood_among_messages_that_cause_one_another(
    released, database, settings, monkeypatch
):
    """A receiver that fires the signal again comes to an end, in the thread too."""
    from dsn_core import context

    def again(**kwargs):
        emit("released", name="again")

    settings.DSN = {"RUNNER": "worker", "MAX_DEPTH": 3}
    monkeypatch.setattr(waiting, "PATIENCE", 0.0)
    event_recorded.connect(again)
    try:
        database.refuse(PASSING[0])
        with context.working_on(1):
            emit("released", name="first")
        database.error = None
        assert backlog.wait(30)
    finally:
        event_recorded.disconnect(again)
    connection.close()
    assert list(Event.objects.order_by("id").values_list("depth", flat=True)) == [2, 3]
