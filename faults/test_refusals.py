"""Callers whose database refuses an event for a moment, or asks for their transaction again: nothing is lost."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter

import pytest
from django.db import connection, connections, transaction

from dsn_core.models import Event, Trigger
from tests.testapp.models import Movie

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

#: A caller that gives no statement more than so long, while a migration holds the table of events. It saves rows in a
#: transaction with savepoints, of which it rolls one back, and one row outside of a transaction.
CALLER = """
import contextlib, sys, time
import django
django.setup()
from django.db import connection, transaction
from tests.testapp.models import Movie

class Undo(Exception):
    pass

kind, number = sys.argv[1:]
with connection.cursor() as cursor:
    if connection.vendor == "postgresql":
        cursor.execute(f"SET {kind} = 100")
    else:
        cursor.execute("SET SESSION lock_wait_timeout = 1, SESSION innodb_lock_wait_timeout = 1")
began = time.monotonic()
with transaction.atomic():
    Movie.objects.create(name=f"{number}a")
    with contextlib.suppress(Undo), transaction.atomic():
        Movie.objects.create(name=f"{number}b")
        raise Undo
    with transaction.atomic():
        Movie.objects.create(name=f"{number}c")
    Movie.objects.create(name=f"{number}d")
with contextlib.suppress(Undo), transaction.atomic():
    Movie.objects.create(name=f"{number}e")
    raise Undo
Movie.objects.create(name=f"{number}f")
print(time.monotonic() - began, flush=True)
sys.stdin.read()
"""


@pytest.mark.everywhere
@pytest.mark.parametrize("kind", ["lock_timeout", "statement_timeout"])
def test_24_a_time_out_while_the_table_of_events_is_locked(kind, environment, figure, full):
    if connection.vendor == "sqlite":
        pytest.skip("a transaction of SQLite that writes has the whole database")
    if connection.vendor == "mysql" and kind == "statement_timeout":
        pytest.skip("MariaDB has one limit for both")
    Trigger.objects.define("post_save", action_object=Movie).subscribe()
    callers = 12 if full else 4
    with connection.cursor() as cursor:
        table = connection.ops.quote_name(Event._meta.db_table)
        with transaction.atomic() if connection.vendor == "postgresql" else Unlocked(cursor):
            cursor.execute(
                f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"
                if connection.vendor == "postgresql"
                else f"LOCK TABLES {table} WRITE"
            )
            processes = [
                subprocess.Popen(
                    [sys.executable, "-c", CALLER, kind, str(number)],
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                for number in range(callers)
            ]
            # Each says when it is done with its business, and ends when it is told.
            seconds = [float(process.stdout.readline()) for process in processes]
            assert all(process.poll() is None for process in processes)
        for process in processes:
            _, said = process.communicate(timeout=300)
            assert process.returncode == 0, said
    rows = Movie.objects.count()
    codes = Counter(event.action_object.name[-1] for event in Event.objects.all())
    figure(f"{rows} rows, {rows - sum(codes.values())} events lost; callers took {max(seconds):.1f} s at most")
    assert rows == callers * 4
    assert codes == dict.fromkeys("acdf", callers)


class Unlocked:
    """MariaDB's lock of a table ends when its connection is told."""

    def __init__(self, cursor):
        self._cursor = cursor

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self._cursor.execute("UNLOCK TABLES")


def test_25_serializable_callers_that_retry_and_read_our_tables(figure, full):
    """Each reads how many events there are, and saves a row: of two at a time, one must try again."""
    from psycopg import IsolationLevel

    Trigger.objects.define("post_save", action_object=Movie).subscribe()
    threads, each = (8, 60) if full else (6, 20)
    retries, failures = Counter(), []

    @transaction.atomic
    def work(code):
        Event.objects.filter(verb="post_save").count()
        Movie.objects.create(name=code)
        Event.objects.order_by("-id").first()

    def call(number):
        try:
            connection.ensure_connection()
            connection.connection.isolation_level = IsolationLevel.SERIALIZABLE
            for turn in range(each):
                while True:
                    try:
                        work(f"{number}-{turn}")
                        break
                    except Exception as error:
                        if getattr(error.__cause__, "sqlstate", "") not in ("40001", "40P01"):
                            raise
                        retries[number] += 1
        except Exception as error:
            failures.append(error)
        finally:
            connections.close_all()

    running = [threading.Thread(target=call, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(120)
    assert not failures
    rows, events = Movie.objects.count(), Event.objects.count()
    figure(f"{rows} commits after {sum(retries.values())} retries, {rows - events} events lost")
    assert rows == events == threads * each
    assert {event.action_object.name for event in Event.objects.all()} == set(
        Movie.objects.values_list("name", flat=True)
    )
    assert sum(retries.values()) > 0, "the transactions did not meet"


READER = """
import contextlib, sys, time
import django
django.setup()
from django.db import connection, transaction
from dsn_core import emit
from tests.testapp.models import Movie

connection.ensure_connection()
connection.transaction_mode = "DEFERRED"
with connection.cursor() as cursor:
    cursor.execute("PRAGMA busy_timeout = 50")
began = time.monotonic()
with transaction.atomic():
    Movie.objects.count()
    assert emit("post_save", action_object=Movie(name="a")) is not None
    with contextlib.suppress(ZeroDivisionError), transaction.atomic():
        emit("post_save", action_object=Movie(name="b"))
        1 / 0
    emit("post_save", action_object=Movie(name="c"))
with contextlib.suppress(ZeroDivisionError), transaction.atomic():
    Movie.objects.count()
    emit("post_save", action_object=Movie(name="d"))
    1 / 0
emit("post_save", action_object=Movie(name="e"))
print(time.monotonic() - began, flush=True)
sys.stdin.read()
"""


@pytest.mark.everywhere
def test_26_a_file_that_another_process_writes_to(environment, figure):
    """The caller only reads, and its signals find the file locked."""
    if connection.vendor != "sqlite":
        pytest.skip("about SQLite")
    Trigger.objects.define("post_save", action_object=Movie).subscribe()
    with transaction.atomic():
        Movie.objects.create(name="the writer's")
        process = subprocess.Popen(
            [sys.executable, "-c", READER],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        seconds = float(process.stdout.readline())
        assert process.poll() is None
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    names = sorted(event.action_object.name for event in Event.objects.all())
    figure(f"3 events of a transaction and after it, {4 - len(names)} lost; the caller took {seconds:.1f} s")
    assert names == ["a", "c", "e", "the writer's"]
