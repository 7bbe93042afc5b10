"""The database's time, rows that are made once, and turns that workers share, on a table of our own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from django.db import OperationalError, connection, models, transaction

from dsn_core.kit import database


class Turn(models.Model):
    name = models.CharField(max_length=20, unique=True)
    free_at = models.FloatField(default=0.0)

    class Meta:
        app_label = "testapp"

    def __str__(self) -> str:
        return self.name


@pytest.fixture
def table(transactional_db: None) -> Iterator[models.QuerySet[Turn]]:
    with connection.schema_editor() as editor:
        editor.create_model(Turn)
    yield Turn.objects.all()
    with connection.schema_editor() as editor:
        editor.delete_model(Turn)


def make(*names: str) -> None:
    database.insert_missing([Turn(name=name) for name in names], "default", key=["name"])


def test_the_database_s_time_is_in_seconds_since_1970(table: models.QuerySet[Turn]) -> None:
    make("a")
    (now,) = table.annotate(now=database.EpochNow()).values_list("now", flat=True)
    # The database is on this machine.
    assert abs(now - time.time()) < 60
    assert now != int(now)


def test_rows_that_are_there_stay_as_they_are(table: models.QuerySet[Turn]) -> None:
    make("a")
    table.update(free_at=7.0)
    make("a", "b")
    assert dict(table.values_list("name", "free_at")) == {"a": 7.0, "b": 0.0}
    make()


def test_a_turn_is_taken_once_and_the_next_one_hears_how_far_it_is_away(table: models.QuerySet[Turn]) -> None:
    make("a", "b")
    assert database.take_turns(table, {"a": 60.0}, key="name") == {"a": 0.0}
    waits = database.take_turns(table, {"a": 60.0, "b": 30.0}, key="name")
    assert waits["b"] == 0.0
    assert 30 < waits["a"] <= 60
    # What is not there is not free.
    assert database.take_turns(table, {"c": 5.0}, key="name") == {"c": 5.0}


def test_turns_cost_the_same_for_one_and_for_many(
    table: models.QuerySet[Turn], django_assert_num_queries: object
) -> None:
    names = [f"n{number:03}" for number in range(100)]
    make(*names)
    with django_assert_num_queries(6 if connection.vendor == "sqlite" else 5):  # type: ignore[operator]
        # The rows, two times at which turns end, and the transaction's begin and end; SQLite's lock is one more.
        database.take_turns(table, {name: 60.0 if name < "n050" else 30.0 for name in names}, key="name")


def test_a_clock_that_was_set_back_holds_no_key_up(table: models.QuerySet[Turn]) -> None:
    make("a")
    table.update(free_at=time.time() + 3_600)
    assert database.take_turns(table, {"a": 1.0}, key="name") == {"a": 0.0}


def test_of_several_workers_one_gets_each_turn(table: models.QuerySet[Turn]) -> None:
    names = [f"n{number}" for number in range(8)]
    make(*names)
    barrier = threading.Barrier(4)
    taken: list[str] = []
    errors: list[Exception] = []

    @database.insisting(Turn)
    def take(mine: list[str]) -> dict[str, float]:
        return database.take_turns(Turn.objects.all(), dict.fromkeys(mine, 60.0), key="name")

    def work(order: int) -> None:
        barrier.wait(10)
        try:
            waits = take(names if order % 2 else names[::-1])
            taken.extend(name for name, wait in waits.items() if not wait)
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(order,)) for order in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert len(taken) == len(set(taken))
    # One that another worker was just taking may be free for a moment, and the next one gets it.
    taken += [name for name, wait in take(names).items() if not wait]
    assert sorted(taken) == names


def test_what_meets_a_deadlock_is_tried_again_but_not_within_a_lost_transaction(table: models.QuerySet[Turn]) -> None:
    calls: list[int] = []

    @database.insisting(Turn)
    def meet(times: int) -> str:
        calls.append(times)
        if len(calls) <= times:
            raise OperationalError("deadlock detected")
        return "done"

    assert meet(2) == "done"
    assert len(calls) == 3
    calls.clear()
    with pytest.raises(OperationalError):
        meet(100)
    assert len(calls) == database.TRIES
    calls.clear()
    with pytest.raises(OperationalError), transaction.atomic():
        meet(1)
    assert len(calls) == 1
