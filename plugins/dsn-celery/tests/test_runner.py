"""The runner without a worker: what is put into which queue, and what the checks say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery, current_app
from django.db import transaction

import dsn_celery
from dsn_celery import CeleryRunner
from dsn_celery.tasks import fan_out, send, sweep
from dsn_core.models import Delivery
from tests.ledger import books
from tests.testapp.models import Movie

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _celery_runner(settings: Any) -> None:
    settings.DSN = {"RUNNER": "celery", "STRICT": True}


@pytest.fixture
def in_memory(configure: Callable[..., Celery]) -> Celery:
    """Kombu's broker in this process's memory."""
    return configure("memory://")


def taken_from(app: Celery, queue: str) -> Iterator[tuple[dict[str, Any], Any]]:
    """Headers and arguments of all tasks in a queue."""
    with app.connection_for_write() as connection, connection.SimpleQueue(queue) as tasks:
        while len(tasks):
            message = tasks.get(block=False)
            message.ack()
            assert message.content_type == "application/json"
            yield message.headers, json.loads(message.body)[0]


def test_a_commit_publishes_one_task_however_many_events_it_recorded(in_memory, queue, book) -> None:
    books.subscribe(2)
    with transaction.atomic():
        for name in ("Brazil", "Alien"):
            Movie.objects.create(name=name)
        assert list(taken_from(in_memory, queue)) == []
    ((headers, arguments),) = taken_from(in_memory, queue)
    assert (headers["task"], arguments) == ("dsn_celery.fan_out", ["default"])
    assert headers["ignore_result"] is True


def test_the_tasks_fan_out_and_start_one_task_for_each_messenger_with_work(in_memory, queue, book) -> None:
    books.subscribe(2)
    Movie.objects.create(name="Brazil")
    list(taken_from(in_memory, queue))
    fan_out("default")
    assert [(headers["task"], arguments) for headers, arguments in taken_from(in_memory, queue)] == [
        ("dsn_celery.send", ["ledger", "default"])
    ]
    fan_out("default")
    assert list(taken_from(in_memory, queue)) == [], "a wake-up that came too late starts nothing"
    sweep()
    assert [arguments for _, arguments in taken_from(in_memory, queue)] == [["ledger", None]], "the sweep does"
    Delivery.objects.all().cancel()
    sweep()
    assert list(taken_from(in_memory, queue)) == []


def test_a_task_whose_time_is_over_queues_up_again(in_memory, queue, book, dsn, monkeypatch) -> None:
    monkeypatch.setenv("DSN_TEST_LEDGER", os.fspath(book.path))
    monkeypatch.setenv("DSN_TEST_LEDGER_SECONDS", "0.5")
    monkeypatch.setattr("dsn_celery.tasks.SECONDS", 0.8)
    books.subscribe(4)
    Movie.objects.create(name="Brazil")
    fan_out("default")
    list(taken_from(in_memory, queue))
    rounds = 0
    todo = [["ledger", "default"]]
    while todo:
        rounds += 1
        send(*todo.pop())
        todo += [arguments for _, arguments in taken_from(in_memory, queue)]
    assert books.all_done(4)
    assert rounds >= 2
    assert book.doubled() == 0


def test_task_routes_choose_the_queues(configure, queue, book) -> None:
    app = configure(
        "memory://",
        task_routes={"dsn_celery.send.ledger": {"queue": f"{queue}-ledger"}, "dsn_celery.*": {"queue": f"{queue}-dsn"}},
    )
    books.subscribe(1)
    Movie.objects.create(name="Brazil")
    assert len(list(taken_from(app, f"{queue}-dsn"))) == 1
    fan_out("default")
    assert [headers["task"] for headers, _ in taken_from(app, f"{queue}-ledger")] == ["dsn_celery.send"]


@pytest.mark.parametrize("task", [fan_out, send, sweep], ids=lambda task: task.name)
def test_every_task_is_acknowledged_late_keeps_no_result_and_is_json(in_memory, task: Any) -> None:
    assert (task.acks_late, task.reject_on_worker_lost, task.ignore_result) == (True, True, True)
    assert task.serializer == "json"
    assert task.name in in_memory.tasks


def test_eager_tasks_do_it_all_at_once(configure, book, dsn, monkeypatch) -> None:
    monkeypatch.setenv("DSN_TEST_LEDGER", os.fspath(book.path))
    configure("memory://", task_always_eager=True)
    books.subscribe(2)
    Movie.objects.create(name="Brazil")
    assert books.all_done(2)


# The checks


def ids() -> list[str]:
    found = CeleryRunner.check()
    assert all(message.hint for message in found)
    return [str(message.id) for message in found]


def test_the_checks_find_nothing_where_all_is_well(configure) -> None:
    configure("memory://", beat_schedule=dsn_celery.beat_schedule())
    assert ids() == []


@pytest.mark.parametrize(
    ("conf", "expected"),
    [
        ({"beat_schedule": {}}, ["dsn_celery.W004"]),
        ({"beat_schedule": {}, "beat_scheduler": "django_celery_beat.schedulers:DatabaseScheduler"}, []),
        ({"task_always_eager": True}, ["dsn_celery.W003"]),
        ({"accept_content": ["pickle"]}, ["dsn_celery.E002"]),
        ({"accept_content": ["application/json"]}, []),
    ],
)
def test_the_checks_say_what_is_missing(configure, conf: dict[str, Any], expected: list[str]) -> None:
    configure("memory://", **{"beat_schedule": dsn_celery.beat_schedule(), **conf})
    assert ids() == expected


def test_the_checks_of_the_core_ask_the_runner(configure, settings) -> None:
    from django.core.checks import run_checks

    configure("memory://")
    assert "dsn_celery.W004" in [message.id for message in run_checks(tags=["dsn"])]
    settings.DSN = {"RUNNER": "worker"}
    assert "dsn_celery.W004" not in [message.id for message in run_checks(tags=["dsn"])]


def test_a_project_without_an_app_is_told_so(child_environment) -> None:
    """And a settings module may import the package."""
    program = (
        "import dsn_celery; dsn_celery.beat_schedule()\n"
        "import django; django.setup()\n"
        "print([message.id for message in dsn_celery.CeleryRunner.check()])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=child_environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "['dsn_celery.E001']", done.stderr


def test_the_schedule_is_one_that_beat_takes(configure) -> None:
    app = configure("memory://", beat_schedule=dsn_celery.beat_schedule(30))
    scheduler = app.Beat(app=app, quiet=True).Service(app=app)  # made, not run
    assert scheduler is not None
    (entry,) = dsn_celery.beat_schedule(30).values()
    assert entry == {"task": sweep.name, "schedule": 30.0}
    assert entry["task"] in current_app.tasks
