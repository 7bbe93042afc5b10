"""The database gives a transaction up while an event is recorded: the code that fired the signal is told.

Real connections and real locks. That the caller gets the exception matters because ``atomic()`` would otherwise end
without an error and without the rows.
"""

from __future__ import annotations

import contextlib
import threading

import pytest
from django.db import DatabaseError, InterfaceError, OperationalError, connection, connections, transaction
from django.dispatch import Signal
from django.utils.functional import SimpleLazyObject

from dsn_core import emit, register_signal
from dsn_core.intake.backlog import backlog
from dsn_core.models import Event, Trigger
from dsn_core.plugins.catalogue import catalogue
from tests.intake.codecs import Odd, codec_that
from tests.testapp.models import Country, Movie
from tests.waiting import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

only_servers = pytest.mark.skipif(connection.vendor == "sqlite", reason="a file has no connection that dies")
only_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="about PostgreSQL")
only_mariadb = pytest.mark.skipif(
    connection.vendor != "mysql", reason="only MariaDB and MySQL roll back the whole transaction by themselves"
)

LOST = (DatabaseError, InterfaceError)


@pytest.fixture(autouse=True)
def released(settings, transactional_db):
    """A signal that a trigger listens to, and no runner."""
    settings.DSN = {"RUNNER": "worker"}
    signal = Signal()
    register_signal("released", signal)
    Trigger.objects.define("released").subscribe()
    yield signal
    catalogue.remove("released")


@contextlib.contextmanager
def elsewhere(work):
    """Run ``work`` in another thread, on connections of its own, until the block ends."""
    failures = []

    def run():
        try:
            work()
        except Exception as error:
            failures.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join(60)
    assert not failures
    assert not thread.is_alive()


def backend_number():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()" if connection.vendor == "postgresql" else "SELECT CONNECTION_ID()")
        return cursor.fetchone()[0]


def end_backend(number):
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_terminate_backend(%s)", [number])
        else:
            cursor.execute("KILL %s", [number])


def is_waiting_for_a_lock(number):
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s", [number])
        else:
            cursor.execute(
                "SELECT trx_state = 'LOCK WAIT' FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = %s",
                [number],
            )
        row = cursor.fetchone()
    return bool(row and row[0])


def lock_gaps():
    """Let this connection's locks keep new rows out, which Django's isolation level for MariaDB would not."""
    if connection.vendor == "mysql":
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")


def recorded():
    connection.close()
    return Country.objects.count(), Event.objects.count()


def ending_this_connection():
    """What ends the connection of this thread when it is called, from another thread."""
    number = backend_number()

    def end():
        with elsewhere(lambda: end_backend(number)):
            pass

    return end


@only_servers
class TestATerminatedBackend:
    def test_while_the_insert_is_under_way(self, released):
        """The INSERT of the event waits for a lock; then its connection is ended by an administrator."""
        holds, number = threading.Event(), []

        def administrator():
            lock_gaps()
            with transaction.atomic(), connection.cursor() as cursor:
                if connection.vendor == "postgresql":
                    cursor.execute("LOCK TABLE dsn_core_event IN EXCLUSIVE MODE")
                else:
                    # The gap after the last row, where every new one goes.
                    cursor.execute("SELECT id FROM dsn_core_event WHERE id > 0 FOR UPDATE")
                holds.set()
                wait_for(lambda: number and is_waiting_for_a_lock(number[0]))
                end_backend(number[0])

        @transaction.atomic
        def work():
            Country.objects.create(code="de")
            number.append(backend_number())
            released.send(sender=None)
            pytest.fail("the caller was not told")

        with elsewhere(administrator):
            assert holds.wait(30)
            with pytest.raises(LOST):
                work()
        assert recorded() == (0, 0)

    def test_before_the_insert(self, released, dsn):
        @transaction.atomic
        def work():
            Country.objects.create(code="de")
            released.send(sender=None, odd=Odd())
            pytest.fail("the caller was not told")

        dsn.add(codec_that(ending_this_connection()))
        with pytest.raises(LOST):
            work()
        assert recorded() == (0, 0)

    def test_in_autocommit_the_row_is_there_and_the_event_comes_by_another_connection(self, released, dsn):
        dsn.add(codec_that(ending_this_connection()))
        Country.objects.create(code="de")
        released.send(sender=None, odd=Odd())
        assert backlog.wait(30)
        assert recorded() == (1, 1)

    def test_send_robust_returns_the_error(self, released, dsn):
        dsn.add(codec_that(ending_this_connection()))
        with contextlib.suppress(*LOST), transaction.atomic():
            Country.objects.create(code="de")
            ((_, error),) = released.send_robust(sender=None, odd=Odd())
            assert isinstance(error, LOST)
        assert recorded() == (0, 0)


@only_mariadb
class TestADeadlock:
    @pytest.fixture(autouse=True)
    def rows(self):
        Country.objects.bulk_create([Country(code=f"{number:02}") for number in range(60)])

    def test_of_the_insert_itself(self, released):
        """We hold a row and want the gap in the table of events; the other one has it, and wants the row."""
        holds, ours_is_held = threading.Event(), threading.Event()

        def heavier():
            lock_gaps()
            with transaction.atomic():
                Country.objects.filter(code__gt="00").update(password="theirs")
                list(Event.objects.select_for_update().filter(pk__gt=0))
                holds.set()
                assert ours_is_held.wait(30)
                Country.objects.filter(code="00").update(password="theirs")

        @transaction.atomic
        def work():
            Country.objects.filter(code="00").update(password="ours")
            ours_is_held.set()
            released.send(sender=None)
            pytest.fail("the caller was not told")

        with elsewhere(heavier):
            assert holds.wait(30)
            with pytest.raises(OperationalError, match="Deadlock"):
                work()
        assert set(Country.objects.values_list("password", flat=True)) == {"theirs"}
        assert Event.objects.count() == 0

    @pytest.mark.parametrize("wrapped", [False, True])
    def test_of_a_query_that_matching_needs(self, released, django_user_model, wrapped):
        """Django marks no transaction for a plain query that fails: without help the rest of it would be committed."""
        Trigger.objects.define("released", actor_object=django_user_model.objects.create(username="ann")).subscribe()
        holds, ours_is_held = threading.Event(), threading.Event()

        def heavier():
            with transaction.atomic():
                Country.objects.filter(code__gt="00").update(password="theirs")
                holds.set()
                assert ours_is_held.wait(30)
                Country.objects.filter(code="00").update(password="theirs")

        def who():
            ours_is_held.set()
            try:
                return Country.objects.select_for_update().get(code="01")
            except DatabaseError as error:
                if wrapped:
                    raise LookupError("who?") from error
                raise

        @transaction.atomic
        def work():
            Country.objects.filter(code="00").update(password="ours")
            released.send(sender=None, actor_object=SimpleLazyObject(who))
            pytest.fail("the caller was not told")

        with elsewhere(heavier):
            assert holds.wait(30)
            with pytest.raises((DatabaseError, LookupError)):
                work()
        assert set(Country.objects.values_list("password", flat=True)) == {"theirs"}
        assert Event.objects.count() == 0

    def test_where_the_project_manages_its_transactions_itself(self, released, dsn):
        holds, ours_is_held = threading.Event(), threading.Event()

        def heavier():
            lock_gaps()
            with transaction.atomic():
                Country.objects.filter(code__gt="00").update(password="theirs")
                list(Event.objects.select_for_update().filter(pk__gt=0))
                holds.set()
                assert ours_is_held.wait(30)
                Country.objects.filter(code="00").update(password="theirs")

        with elsewhere(heavier):
            assert holds.wait(30)
            transaction.set_autocommit(False)
            try:
                Country.objects.filter(code="00").update(password="ours")
                ours_is_held.set()
                with pytest.raises(OperationalError, match="Deadlock"):
                    released.send(sender=None)
            finally:
                transaction.rollback()
                transaction.set_autocommit(True)
        assert set(Country.objects.values_list("password", flat=True)) == {"theirs"}


@pytest.mark.skipif(connection.vendor != "sqlite", reason="about SQLite")
def test_a_transaction_that_sqlite_rolls_back_by_itself_is_the_callers_to_know(released):
    """As after an error that leaves it no choice, such as a disk that is full."""

    @transaction.atomic
    def work():
        Country.objects.create(code="de")
        released.send(sender=None)
        pytest.fail("the caller was not told")

    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TRIGGER full BEFORE INSERT ON dsn_core_event BEGIN SELECT RAISE(ROLLBACK, 'on purpose'); END"
        )
        try:
            with pytest.raises(DatabaseError, match="on purpose"):
                work()
        finally:
            cursor.execute("DROP TRIGGER full")
    assert recorded() == (0, 0)


def failing_query():
    with connection.cursor() as cursor:
        cursor.execute("SELECT nothing FROM nowhere")


def test_a_statement_that_fails_inside_costs_the_event_and_not_the_row(released, dsn, caplog):
    dsn.add(codec_that(failing_query))
    with transaction.atomic():
        Country.objects.create(code="de")
        released.send(sender=None, odd=Odd())
        Country.objects.create(code="at")
        released.send(sender=None, odd=1)
    assert recorded() == (2, 1)
    assert caplog.text.count("Trigger released: its event is not recorded") == 1


def test_a_queryset_that_cannot_be_read_costs_the_event_and_not_the_row(released, caplog):
    broken = Movie.objects.extra(where=["nothing = 1"])
    with transaction.atomic():
        Country.objects.create(code="de")
        released.send(sender=None, movies=broken)
        Country.objects.create(code="at")
    assert recorded() == (2, 0)
    assert "its event is not recorded" in caplog.text


@only_postgresql
def test_a_transaction_that_a_failing_query_of_the_caller_has_lost_is_not_hidden(released):
    @transaction.atomic
    def work():
        Country.objects.create(code="de")
        with contextlib.suppress(DatabaseError):
            failing_query()
        released.send(sender=None)
        pytest.fail("the caller was not told")

    with pytest.raises(DatabaseError):
        work()
    assert recorded() == (0, 0)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_trigger_that_another_connection_deletes_fails_no_commit(released, moment):
    """With deferred constraints PostgreSQL would refuse the COMMIT, and the business row would be gone."""
    if moment == "after" and connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer: nobody can delete it then")

    def delete():
        # Not by the ORM: this process must not notice.
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM dsn_core_subscription")
            cursor.execute("DELETE FROM dsn_core_trigger")

    if moment == "before":
        with elsewhere(delete):
            pass
    with transaction.atomic():
        Country.objects.create(code="de")
        assert emit("released") is not None
        if moment == "after":
            with elsewhere(delete):
                pass
    assert recorded() == (1, 1)
    assert not Trigger.objects.exists()


def test_no_constraint_of_the_database_holds_an_event_to_another_row():
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, Event._meta.db_table).values()
    assert [item for item in constraints if item["foreign_key"]] == []
