"""Real workers on real brokers: what is sent, what is lost, what is doubled."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import pytest
from celery import current_app
from django.db import transaction

import dsn_celery
from dsn_core.models import Delivery, Event, Trigger
from tests.ledger import books
from tests.services import requires_service
from tests.settings import DATABASE
from tests.testapp.models import Movie
from tests.waiting import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300), pytest.mark.slow]

#: About the tasks and not about the claims, which other tests try on every database.
on_one_database = pytest.mark.skipif(DATABASE != "sqlite", reason="the same on every database: run with SQLite")
on_rabbitmq, on_redis = (
    pytest.mark.parametrize("app", [pytest.param(name, marks=requires_service(name))], indirect=True)
    for name in ("rabbitmq", "redis")
)

DSN_WORKER = [sys.executable, "-m", "django", "dsn_worker"]


@pytest.fixture(autouse=True)
def _celery_runner(settings: Any) -> None:
    settings.DSN = {"RUNNER": "celery", "STRICT": True}


def make_movies(count: int, *, at_once: bool = False) -> None:
    if at_once:
        with transaction.atomic():
            make_movies(count)
        return
    for number in range(count):
        Movie.objects.create(name=f"Movie {number}")


@on_one_database
def test_a_commit_wakes_a_worker_which_sends(app, book, environment, worker, log) -> None:
    books.subscribe(25)
    with worker(environment(app)) as process:
        make_movies(2)
        wait_for(lambda: books.all_done(50), says=log.read_text)
        assert os.getpid() not in book.processes()
        # One for each commit, not one for each message.
        wait_for(lambda: log.read_text().count("dsn_celery.fan_out") >= 2)
        assert process.poll() is None
    assert (book.lost(), book.doubled()) == (0, 0)


def test_a_worker_killed_under_load_loses_nothing(app, book, environment, worker, log, capsys) -> None:
    """kill -9 of a worker with all its processes, and of one of its processes, while it sends.

    RabbitMQ gives the tasks of a dead worker to the next one, Redis an hour later: the sweep finds their work.
    """
    events, addresses, kills = 8, 25, 0
    app.conf.beat_schedule = dsn_celery.beat_schedule(1)
    env = environment(app, seconds=0.02, LEASE_SECONDS=3)
    books.subscribe(addresses)
    make_movies(events)
    for number in range(4):
        before = len(book.lines())
        with worker(env, "--beat", "--schedule", os.fspath(log.with_name(f"beat{number}")), concurrency=2) as process:
            wait_for(lambda n=before: len(book.lines()) > n + 8, says=log.read_text)
            assert not books.all_done(events * addresses), "it is killed with work before it"
            if number < 3:
                # Both of its processes hold a batch, at most.
                kills += 2
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)
            else:
                # A process of the pool that dies is replaced, and its task begins again.
                kills += 1
                os.kill(book.lines()[-1][0], signal.SIGKILL)
                wait_for(lambda: books.all_done(events * addresses), says=log.read_text)
    with capsys.disabled():
        book.report(f"celery on {app.conf.broker_url.partition(':')[0]}", kills=kills)
    assert book.lost() == 0
    assert book.doubled() <= kills * 10, "at most one batch a kill"


def test_celery_and_dsn_worker_side_by_side_double_nothing(app, book, environment, worker, log, capsys) -> None:
    addresses = 50
    env = environment(app, seconds=0.02)
    books.subscribe(addresses)
    with worker(env, concurrency=2), books.process(DSN_WORKER, env, log.with_name("other")) as other:
        wait_for(lambda: b"Watching" in log.with_name("other").read_bytes())
        for _ in range(10):
            make_movies(6)
            wait_for(lambda: books.all_done(Movie.objects.count() * addresses), says=log.read_text)
            if other.pid in book.processes() and len(book.processes()) > 1:
                break
    with capsys.disabled():
        book.report(f"celery and dsn_worker, {len(book.processes())} processes")
    assert other.pid in book.processes(), "dsn_worker sent"
    assert book.processes() != {other.pid}, "Celery sent"
    assert (book.lost(), book.doubled()) == (0, 0)


@on_one_database
@on_redis
def test_the_sweep_of_beat_finds_retries_and_lost_wake_ups(app, book, environment, worker, log, settings) -> None:
    books.subscribe(3)
    # Recorded, and nobody was woken.
    settings.DSN = {"RUNNER": "worker"}
    make_movies(1)
    app.conf.beat_schedule = dsn_celery.beat_schedule(0.5)
    with worker(environment(app), "--beat", "--schedule", os.fspath(log.with_name("beat"))):
        wait_for(lambda: books.all_done(3), says=log.read_text)
        Delivery.objects.update(status="retry", attempts=1, not_before=Event.objects.get().created_at)
        wait_for(lambda: books.all_done(3), says=log.read_text)
    assert len(book.lines()) == 6


@on_one_database
@on_rabbitmq
def test_a_messenger_can_have_a_queue_of_its_own(app, queue, book, environment, worker, log) -> None:
    app.conf.task_routes = {"dsn_celery.send.ledger": {"queue": f"{queue}-ledger"}}
    books.subscribe(3)
    env = environment(app)
    with worker(env, "--hostname", "all@%h"):
        make_movies(1)
        wait_for(lambda: Delivery.objects.count() == 3, says=log.read_text)
        assert book.lines() == [], "nobody listens to the queue"
        with worker(env, "--queues", f"{queue}-ledger", "--hostname", "ledger@%h"):
            wait_for(lambda: books.all_done(3), says=log.read_text)


@on_one_database
@on_redis
def test_a_worker_follows_edits_of_triggers(app, book, environment, worker, log) -> None:
    """Its own tasks fire signals, too. This process edits; that one must hear of it within REFRESH_SECONDS."""
    make_movie = current_app.signature("celery_project.make_movie")
    with worker(environment(app, REFRESH_SECONDS=0.5)):
        make_movie.clone(args=["before"]).apply_async()
        wait_for(lambda: Movie.objects.filter(name="before").exists(), says=log.read_text)
        books.subscribe(2)
        make_movie.clone(args=["after"]).apply_async(countdown=1)
        wait_for(lambda: books.all_done(2), says=log.read_text)
        trigger = Trigger.objects.get()
        trigger.enabled = False
        trigger.save()
        make_movie.clone(args=["at last"]).apply_async(countdown=1)
        wait_for(lambda: Movie.objects.filter(name="at last").exists(), says=log.read_text)
    assert Event.objects.count() == 1
