"""Savepoints: few, and as good as those of ``atomic()``. What the databases do by themselves is proved here, too."""

from __future__ import annotations

import contextlib
import uuid

import pytest
from django.db import DatabaseError, IntegrityError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from dsn_core import savepoints
from dsn_core.intake import storing as recording
from dsn_core.intake.storing import NewEvent
from dsn_core.models import Event
from dsn_core.savepoints import guarded
from tests.testapp.models import Country

pytestmark = pytest.mark.django_db(transaction=True)

only_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="about PostgreSQL")


def codes():
    return sorted(Country.objects.values_list("code", flat=True))


def statements(captured):
    """The words at the beginning of all statements, several of one string as well."""
    return [part.split()[0] for query in captured.captured_queries for part in query["sql"].split("; ")]


def round_trips(captured):
    return len(captured.captured_queries)


def failing_query():
    with connection.cursor() as cursor:
        cursor.execute("SELECT nothing FROM nowhere")


def insert(code, *, alias="default"):
    """A row of the project, by one statement that fails where there is one of that key."""
    savepoints.execute(connections[alias], "INSERT INTO testapp_country (code, password) VALUES (%s, '')", [code])


class TestGuarded:
    def test_without_a_query_there_is_no_savepoint(self):
        with transaction.atomic(), CaptureQueriesContext(connection) as captured, guarded(), guarded():
            pass
        assert statements(captured) == []

    def test_the_first_query_sets_it(self):
        with transaction.atomic(), CaptureQueriesContext(connection) as captured, guarded():
            codes()
            codes()
        assert statements(captured) == ["SAVEPOINT", "SELECT", "SELECT", "RELEASE"]

    def test_in_autocommit_there_is_none(self):
        with CaptureQueriesContext(connection) as captured, guarded():
            codes()
        assert statements(captured) == ["SELECT"]

    def test_those_of_blocks_within_it_come_after_it(self):
        with transaction.atomic(), CaptureQueriesContext(connection) as captured:  # noqa: SIM117 - too long for one
            with guarded(), transaction.atomic(savepoint=False), guarded(), transaction.atomic():
                codes()
        assert statements(captured) == [*["SAVEPOINT"] * 3, "SELECT", *["RELEASE"] * 3]
        set_, released = captured.captured_queries[:3], captured.captured_queries[-3:]
        names = [[query["sql"].split()[-1] for query in part] for part in (set_, released)]
        assert names[0] == names[1][::-1]

    def test_what_is_outside_of_it_hears_of_its_savepoint(self):
        heard = []

        def hear(execute, sql, *rest):
            heard.append(sql.split()[0])
            return execute(sql, *rest)

        with transaction.atomic(), connection.execute_wrapper(hear), guarded():
            codes()
        assert sorted(heard) == ["RELEASE", "SAVEPOINT", "SELECT"]

    @pytest.mark.parametrize("savepoint", [True, False])
    def test_a_query_that_fails_takes_back_what_was_done_and_no_more(self, savepoint):
        done = []
        with transaction.atomic():
            Country.objects.create(code="de")
            transaction.on_commit(lambda: done.append("before"))
            with contextlib.suppress(DatabaseError), guarded(), transaction.atomic(savepoint=savepoint):
                transaction.on_commit(lambda: done.append("within"))
                Country.objects.create(code="at")
                failing_query()
            Country.objects.create(code="ch")
            transaction.on_commit(lambda: done.append("after"))
        assert codes() == ["ch", "de"]
        assert done == ["before", "after"]

    def test_an_error_that_was_swallowed_takes_back_what_was_done(self):
        with transaction.atomic():
            Country.objects.create(code="de")
            with guarded():
                Country.objects.create(code="at")
                with contextlib.suppress(IntegrityError):
                    Country.objects.create(code="de")
            Country.objects.create(code="ch")
        assert codes() == ["ch", "de"]

    @only_postgresql
    def test_an_error_that_was_swallowed_and_that_only_the_database_knows_of_is_raised(self):
        with transaction.atomic():
            Country.objects.create(code="de")
            with pytest.raises(DatabaseError), guarded(), contextlib.suppress(DatabaseError):
                failing_query()
            Country.objects.create(code="ch")
        assert codes() == ["ch", "de"]

    def test_a_rollback_that_is_requested_before_any_query_does_nothing(self):
        with transaction.atomic():
            Country.objects.create(code="de")
            with guarded(), contextlib.suppress(ZeroDivisionError), transaction.atomic(savepoint=False):
                raise ZeroDivisionError
            Country.objects.create(code="ch")
        assert codes() == ["ch", "de"]

    def test_a_transaction_that_is_lost_stays_lost(self):
        with transaction.atomic():
            Country.objects.create(code="de")
            transaction.set_rollback(True)
            with contextlib.suppress(ZeroDivisionError), guarded():
                raise ZeroDivisionError
            assert connection.needs_rollback
        assert codes() == []

    @pytest.mark.parametrize("asked", [False, True])
    def test_a_connection_that_is_closed_within_is_known_to_be(self, asked):
        with contextlib.suppress(DatabaseError), transaction.atomic():
            Country.objects.create(code="de")
            work = [codes, connection.close] if asked else [connection.close]
            with pytest.raises(DatabaseError), guarded():
                [step() for step in work]
            assert connection.needs_rollback
        assert codes() == []

    def test_where_the_project_manages_its_transactions_itself(self):
        transaction.set_autocommit(False)
        try:
            Country.objects.create(code="de")
            with contextlib.suppress(DatabaseError), guarded():
                Country.objects.create(code="at")
                failing_query()
            Country.objects.create(code="ch")
            transaction.commit()
        finally:
            transaction.rollback()
            transaction.set_autocommit(True)
        assert codes() == ["ch", "de"]


class TestExecute:
    """Its price, and the proof that the database keeps the rest of the transaction when the statement fails."""

    def test_in_a_transaction_it_costs_what_the_database_needs(self):
        with transaction.atomic(), CaptureQueriesContext(connection) as captured:
            insert("de")
        whole = ["SAVEPOINT", "INSERT", "RELEASE"]
        price = {"sqlite": (["INSERT"], 1), "postgresql": (whole, 1), "mysql": (whole, 3)}
        assert (statements(captured), round_trips(captured)) == price[connection.vendor]
        assert codes() == ["de"]

    def test_in_autocommit_it_is_alone(self):
        with CaptureQueriesContext(connection) as captured:
            insert("de")
        assert statements(captured) == ["INSERT"]
        with pytest.raises(IntegrityError):
            insert("de")
        assert codes() == ["de"]

    @pytest.mark.parametrize("times", [1, 3])
    def test_a_constraint_that_fails_leaves_rows_and_transaction(self, times):
        with transaction.atomic():
            Country.objects.create(code="de")
            for _ in range(times):
                with pytest.raises(IntegrityError):
                    insert("de")
            assert not connection.needs_rollback
            insert("at")
            Country.objects.create(code="ch")
        assert codes() == ["at", "ch", "de"]

    def test_the_same_within_a_savepoint_of_the_project(self):
        with transaction.atomic():
            Country.objects.create(code="de")
            with contextlib.suppress(ZeroDivisionError), transaction.atomic():
                with pytest.raises(IntegrityError):
                    insert("de")
                insert("at")
                raise ZeroDivisionError
            insert("ch")
        assert codes() == ["ch", "de"]

    def test_a_table_that_is_not_there_leaves_rows_and_transaction(self):
        with transaction.atomic():
            Country.objects.create(code="de")
            with pytest.raises(DatabaseError):
                savepoints.execute(connection, "INSERT INTO nowhere VALUES (%s)", [1])
            insert("at")
        assert codes() == ["at", "de"]

    def test_what_fails_before_the_database_sees_it_leaves_rows_and_transaction(self):
        """On PostgreSQL there is no savepoint then, and going back to it would cost the transaction."""
        with transaction.atomic():
            Country.objects.create(code="de")
            with pytest.raises(Exception, match=r"."):
                savepoints.execute(connection, "INSERT INTO testapp_country VALUES (%s, %s)", [object(), "\0"])
            assert not connection.needs_rollback
            insert("at")
        assert codes() == ["at", "de"]

    def test_where_the_project_manages_its_transactions_itself(self):
        transaction.set_autocommit(False)
        try:
            Country.objects.create(code="de")
            with pytest.raises(IntegrityError):
                insert("de")
            insert("at")
            transaction.commit()
        finally:
            transaction.rollback()
            transaction.set_autocommit(True)
        assert codes() == ["at", "de"]

    @only_postgresql
    def test_a_transaction_that_was_lost_before_is_marked(self):
        with transaction.atomic():
            Country.objects.create(code="de")
            with contextlib.suppress(DatabaseError):
                failing_query()
            with pytest.raises(DatabaseError):
                insert("at")
            assert connection.needs_rollback
        assert codes() == []

    @only_postgresql
    def test_where_the_server_binds_parameters_it_takes_three_statements(self):
        other = connection.copy()
        other.settings_dict["OPTIONS"] = {**other.settings_dict["OPTIONS"], "server_side_binding": True}
        held, connections["default"] = connections["default"], other
        try:
            with transaction.atomic(), CaptureQueriesContext(other) as captured:
                insert("de")
                with pytest.raises(IntegrityError):
                    insert("de")
                insert("at")
            assert round_trips(captured) == 3 + 4 + 3
            assert codes() == ["at", "de"]
        finally:
            connections["default"] = held
            other.close()


def event(number=1, **other):
    return NewEvent(
        **{"trigger_id": number, "occurrence": uuid.uuid4(), "verb": "v", "payload": "{}", "depth": 0} | other
    )


class TestWritingEvents:
    @pytest.mark.parametrize("rows", [1, 2, 1_000])
    @pytest.mark.parametrize("transactional", [True, False])
    def test_all_are_written_or_none(self, monkeypatch, rows, transactional):
        """In one statement or several; the last one has no depth, which no database takes."""
        monkeypatch.setattr(recording, "MAX_ROWS", rows)
        with transaction.atomic() if transactional else contextlib.nullcontext():
            Country.objects.create(code="de")
            with pytest.raises(IntegrityError):
                recording.write([event(1), event(2), event(3, depth=None)], "default")
            Country.objects.create(code="at")
            recording.write([event(4), event(5), event(6)], "default")
        assert codes() == ["at", "de"]
        assert sorted(Event.objects.values_list("trigger_id", flat=True)) == [4, 5, 6]

    @pytest.mark.parametrize("rows", [1, 2, 1_000])
    def test_they_go_with_the_transaction(self, monkeypatch, rows):
        monkeypatch.setattr(recording, "MAX_ROWS", rows)
        with contextlib.suppress(ZeroDivisionError), transaction.atomic():
            recording.write([event(1), event(2), event(3)], "default")
            raise ZeroDivisionError
        assert not Event.objects.exists()
