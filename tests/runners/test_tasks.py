"""The runner ``tasks``: a task in the project's own queue, with real workers of django-tasks-db."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.db import transaction
from django.utils import timezone

from dsn_core import Receipt, emit
from dsn_core.checks import configuration
from dsn_core.models import Delivery, Event, MessengerState
from dsn_core.models.clock import DatabaseNow
from dsn_core.queue import schedule
from dsn_core.queue.schedule import seconds_until_due
from dsn_core.runners import driver, wakeups
from dsn_core.testing import MemoryMessenger
from tests.ledger import books
from tests.ledger.messenger import LedgerMessenger
from tests.testapp.models import Movie
from tests.waiting import wait_for

django_tasks_db = pytest.importorskip("django_tasks_db")

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

IMMEDIATE = f"{wakeups.ImmediateBackend.__module__}.ImmediateBackend"
DUMMY = f"{wakeups.DummyBackend.__module__}.DummyBackend"
WORKER = [sys.executable, "-m", "django", "db_worker", "--interval", "0.1", "--no-startup-delay"]


@pytest.fixture(autouse=True)
def _tasks_runner(settings: Any) -> None:
    settings.DSN = {"RUNNER": "tasks", "STRICT": True}


@pytest.fixture
def book(dsn: Any, tmp_path: Path) -> books.Book:
    dsn.add(LedgerMessenger)
    return books.Book(tmp_path / "book")


def queued() -> list[Any]:
    """The tasks that wait for a worker, those with an appointment last."""
    return list(django_tasks_db.models.DBTaskResult.objects.filter(status="READY").order_by("enqueued_at"))


def work_off_the_queue() -> None:
    """Let a worker of django-tasks-db run all tasks that are ready, in this process."""
    from django_tasks_db.management.commands.db_worker import Worker

    Worker(
        queue_names=["default"],
        interval=0,
        batch=True,
        backend_name="default",
        startup_delay=False,
        max_tasks=None,
        worker_id=f"test-{timezone.now().timestamp()}",
        excluded_queue_names=[],
    ).run()


def test_a_commit_puts_one_small_task_into_the_queue_and_a_worker_sends(signals, subscribe) -> None:
    subscribe()
    with transaction.atomic():
        for _ in range(5):
            emit("happened")
        assert queued() == [], "nothing inside of a transaction"
    (task,) = queued()
    assert (task.task_path, task.args_kwargs) == (
        "dsn_core.runners.wakeups.work_off",
        {"args": ["default"], "kwargs": {}},
    )
    assert signals.sent == []
    work_off_the_queue()
    assert len(signals.sent) == 5
    assert queued() == [], "what is done needs no appointment"


def test_a_rollback_puts_nothing_into_the_queue(signals, subscribe) -> None:
    subscribe()
    with transaction.atomic():
        emit("happened")
        transaction.set_rollback(True)
    assert queued() == []


def test_what_a_message_causes_is_found_by_the_same_task(signals, subscribe) -> None:
    subscribe()

    def answer(message: Any) -> Receipt:
        if len(MemoryMessenger.outbox) == 0:
            emit("happened")
        return Receipt.sent(message=message)

    MemoryMessenger.answer = answer
    emit("happened")
    assert len(queued()) == 1
    work_off_the_queue()
    assert len(signals.sent) == 2
    assert django_tasks_db.models.DBTaskResult.objects.count() == 1


def test_a_task_that_leaves_a_retry_makes_an_appointment_for_it_and_one_that_found_nothing_makes_none(
    signals, subscribe
) -> None:
    subscribe()
    MemoryMessenger.answer = lambda message: Receipt.retry(after=120, reason="busy")
    for _ in range(3):
        emit("happened")
    assert len(queued()) == 3
    work_off_the_queue()
    (appointment,) = queued()
    assert timedelta(seconds=60) < appointment.run_after - timezone.now() < timedelta(seconds=125)

    MemoryMessenger.answer = None
    Delivery.objects.update(not_before=DatabaseNow())
    django_tasks_db.models.DBTaskResult.objects.filter(pk=appointment.pk).update(run_after=timezone.now())
    work_off_the_queue()
    assert [delivery.status for delivery in signals.deliveries] == ["sent"] * 3
    assert queued() == []


@pytest.mark.parametrize(("early", "appointments"), [(60, 1), (-60, 0)])
def test_a_task_that_comes_before_its_time_makes_its_appointment_again(
    signals, subscribe, early: float, appointments: int
) -> None:
    subscribe()
    emit("happened")
    MemoryMessenger.answer = lambda message: Receipt.retry(after=120, reason="busy")
    driver.drain("default")
    django_tasks_db.models.DBTaskResult.objects.all().delete()
    from dsn_core.runners import wakeups

    wakeups.work_off.func("default", schedule.now("default") + early)
    assert len(queued()) == appointments


def test_a_task_whose_time_is_over_is_followed_by_another(signals, subscribe, monkeypatch) -> None:
    subscribe()
    monkeypatch.setattr("dsn_core.runners.wakeups.SECONDS", 1)

    def slowly(message: Any) -> Receipt:
        # The time of the task that sends it is over after each message.
        time.sleep(1.05)
        return Receipt.sent(message=message)

    MemoryMessenger.answer = slowly
    with transaction.atomic():
        for _ in range(3):
            emit("happened")
    work_off_the_queue()
    assert len(signals.sent) == 3
    assert 3 <= django_tasks_db.models.DBTaskResult.objects.count() <= 5


def test_a_task_that_finds_nothing_is_cheap(signals, subscribe, django_assert_max_num_queries) -> None:
    from dsn_core.runners.wakeups import work_off

    subscribe()
    emit("happened")
    driver.drain("default")
    with django_assert_max_num_queries(20) as captured:
        work_off.call("default")
    # A savepoint or two around each claim, on databases that lock rows.
    looks = [query for query in captured.captured_queries if query["sql"].lstrip("( ").upper().startswith("SELECT")]
    assert len(looks) <= 7


def test_nothing_of_what_goes_wrong_reaches_the_caller(signals, subscribe, settings, caplog) -> None:
    subscribe()
    settings.TASKS = {"default": {"BACKEND": "nowhere.Backend"}}
    with transaction.atomic():
        emit("happened")
        Movie.objects.create(name="Brazil")
    assert Movie.objects.count() == 1
    assert Event.objects.count() == 1
    assert "The runner 'tasks' could not be woken; a worker will find the work." in caplog.text
    driver.drain("default")
    assert len(signals.sent) == 1


def test_no_task_is_made_inside_of_a_transaction_on_another_database(signals, subscribe, monkeypatch) -> None:
    """The outbox is committed while a transaction on the database of the tasks is open: the task waits for it."""
    from dsn_core.runners.tasks import TasksRunner

    with transaction.atomic():
        # As if the events were elsewhere.
        TasksRunner().wake("elsewhere")
        assert queued() == []
    (task,) = queued()
    assert task.args_kwargs["args"] == ["elsewhere"]


# Django's own backends


def test_the_immediate_backend_sends_after_the_commit(signals, subscribe, settings) -> None:
    settings.TASKS = {"default": {"BACKEND": IMMEDIATE}}
    subscribe()
    with transaction.atomic():
        emit("happened")
        assert signals.sent == []
    assert len(signals.sent) == 1


def test_with_the_immediate_backend_a_failing_messenger_does_not_reach_the_caller(signals, subscribe, settings) -> None:
    settings.TASKS = {"default": {"BACKEND": IMMEDIATE}}
    subscribe()
    MemoryMessenger.answer = lambda message: 1 / 0  # type: ignore[assignment,return-value]
    emit("happened")
    assert [delivery.status for delivery in signals.deliveries] == ["retry"]


# The checks


@pytest.mark.parametrize(("backend", "said"), [(IMMEDIATE, "sends in the process"), (DUMMY, "runs no task")])
def test_a_backend_that_runs_nothing_apart_is_a_warning(settings, backend: str, said: str) -> None:
    settings.TASKS = {"default": {"BACKEND": backend}}
    (found,) = configuration.check_settings()
    assert found.id == "dsn.W043"
    assert said in found.msg
    assert "django_tasks_db" in str(found.hint)


def test_a_backend_with_workers_is_right(settings) -> None:
    assert configuration.check_settings() == []
    settings.DSN = {"RUNNER": "worker"}
    settings.TASKS = {"default": {"BACKEND": DUMMY}}
    assert configuration.check_settings() == [], "only the runner that is chosen is asked"


def test_a_setting_that_does_not_do_is_an_error_that_says_why(settings) -> None:
    settings.TASKS = {"default": {"BACKEND": "nowhere.Backend"}}
    (found,) = [message for message in run_checks(tags=["dsn"]) if message.id == "dsn.W006"]
    assert "nowhere.Backend" in found.msg


def test_where_there_is_no_django_tasks_the_check_says_what_to_install(settings) -> None:
    program = (
        "import sys; sys.modules['django_tasks'] = sys.modules['django.tasks'] = None\n"
        "import django; from django.conf import settings\n"
        "settings.configure(INSTALLED_APPS=['django.contrib.auth', 'django.contrib.contenttypes', 'dsn_core'],\n"
        "    DSN={'RUNNER': 'tasks'}, DEFAULT_AUTO_FIELD='django.db.models.BigAutoField')\n"
        "django.setup()\n"
        "from dsn_core.checks.configuration import check_settings\n"
        "print([(item.id, item.hint) for item in check_settings()])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[('dsn.W006', 'Install dsn-core[tasks].')]", done.stderr


# Looking ahead


def test_seconds_until_due(signals, subscribe) -> None:
    assert seconds_until_due("default") is None
    subscribe()
    emit("happened")
    assert seconds_until_due("default") == 0.0, "an event"
    MemoryMessenger.answer = lambda message: Receipt.retry(after=100, reason="busy")
    driver.drain("default")
    assert 90 < (seconds_until_due("default") or 0) <= 100, "a retry"
    hour = timezone.now() + timedelta(hours=1)
    MessengerState.objects.filter(messenger="memory").update(paused_until=hour)
    assert 3_500 < (seconds_until_due("default") or 0) <= 3_600, "a pause that is longer"
    Delivery.objects.update(not_before=None, status="cancelled")
    assert seconds_until_due("default") is None


# Real workers


@pytest.mark.slow
@pytest.mark.parametrize("finisher", ["a later wake-up", "dsn_worker"])
def test_workers_of_django_tasks_killed_under_load_lose_nothing(
    finisher: str, book: books.Book, child_environment: dict[str, str], tmp_path: Path, capsys
) -> None:
    """kill -9 leaves its task RUNNING for ever. The table of the deliveries is what counts."""
    events, addresses, kills = 6, 20, 3
    env = books.environment(child_environment, book, seconds=0.02, RUNNER="tasks", LEASE_SECONDS=2)
    log = tmp_path / "log"
    books.subscribe(addresses)
    for number in range(events):
        Movie.objects.create(name=f"Movie {number}")
    for _ in range(kills):
        before = len(book.lines())
        with books.process(WORKER, env, log) as worker:
            wait_for(
                lambda: len(book.lines()) > before + 5,  # noqa: B023
                says=log.read_text,
            )
            os.kill(worker.pid, signal.SIGKILL)
            worker.wait(10)
    assert django_tasks_db.models.DBTaskResult.objects.filter(status="RUNNING").count() == kills
    assert not books.all_done(events * addresses), "they were killed with work before them"

    if finisher == "dsn_worker":
        django_tasks_db.models.DBTaskResult.objects.all().delete()
        with books.process([sys.executable, "-m", "django", "dsn_worker"], env, log):
            wait_for(lambda: books.all_done(events * addresses), says=log.read_text)
        total = events * addresses
    else:
        with books.process(WORKER, env, log):
            Movie.objects.create(name="One more")
            total = (events + 1) * addresses
            wait_for(lambda: books.all_done(total), says=log.read_text)
    with capsys.disabled():
        book.report(f"tasks, finished by {finisher}", kills=kills)
    assert book.lost() == 0
    assert book.doubled() <= kills * 10, "at most one batch a kill"
