"""A broker that is down, silent, or restarted: the commit is not held up, and nothing is lost."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.db import transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import path
from kombu import Connection

import dsn_celery
from dsn_celery.publisher import publisher
from dsn_celery.tasks import fan_out
from dsn_core.models import Event
from tests.ledger import books
from tests.services import requires_service
from tests.testapp.models import Movie
from tests.waiting import wait_for

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(300),
    pytest.mark.urls(__name__),
]


def view(request: Any) -> Any:
    with transaction.atomic():
        Movie.objects.create(name="Brazil")
    return HttpResponse("done")


urlpatterns = [path("", view)]


@pytest.fixture(autouse=True)
def _celery_runner(settings: Any) -> None:
    settings.DSN = {"RUNNER": "celery", "STRICT": True}


@pytest.mark.parametrize("scheme", ["amqp", "redis"])
@pytest.mark.parametrize("state", ["closed", "silent"])
def test_a_request_goes_on_while_the_broker_is_down(
    scheme: str,
    state: str,
    configure: Callable[..., Any],
    book: books.Book,
    closed_port: int,
    silent_port: int,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure(f"{scheme}://127.0.0.1:{closed_port if state == 'closed' else silent_port}/")
    books.subscribe(2)
    took = []
    for _ in range(3):
        started = time.monotonic()
        assert Client().get("/").status_code == 200
        took.append(time.monotonic() - started)
    with capsys.disabled():
        print(f"\n[{scheme}, {state}] requests took {', '.join(f'{one:.2f}' for one in took)} s")  # noqa: T201
    assert Movie.objects.count() == Event.objects.count() == 3
    # By Celery's own connections, Redis that is silent would hold this test up until its time is over.
    assert caplog.text.count("could not be published") == 1, "the next requests do not even try"
    assert "Nothing is lost" in caplog.text


@pytest.mark.parametrize("scheme", ["amqp", "redis"])
def test_what_was_recorded_meanwhile_is_sent_by_dsn_worker(
    scheme: str,
    configure: Callable[..., Any],
    environment: Callable[..., dict[str, str]],
    book: books.Book,
    closed_port: int,
) -> None:
    app = configure(f"{scheme}://127.0.0.1:{closed_port}/")
    books.subscribe(5)
    Movie.objects.create(name="Brazil")
    command = [sys.executable, "-m", "django", "dsn_worker", "--once"]
    subprocess.run(command, env=environment(app), check=True, capture_output=True, timeout=200)
    assert books.all_done(5)
    assert (book.lost(), book.doubled()) == (0, 0)


@pytest.fixture
def redis_server(tmp_path: Path, closed_port: int) -> Iterator[Callable[[], contextlib.AbstractContextManager[None]]]:
    """A Redis of the test's own, which can be started again on the same port."""

    @contextlib.contextmanager
    def run() -> Iterator[None]:
        command = ["redis-server", "--port", str(closed_port), "--bind", "127.0.0.1", "--save", "", "--dir"]
        with books.process([*command, os.fspath(tmp_path)], os.environ, tmp_path / "redis.log"):
            client = redis.Redis(port=closed_port, socket_connect_timeout=1)

            def answers() -> bool:
                with contextlib.suppress(redis.exceptions.RedisError):
                    return bool(client.ping())
                return False

            wait_for(answers, says=(tmp_path / "redis.log").read_text)
            client.close()
            yield

    return run


@requires_service("redis")
def test_after_the_broker_is_back_everything_is_sent(
    redis_server: Any,
    configure: Callable[..., Any],
    environment: Callable[..., dict[str, str]],
    worker: Any,
    book: books.Book,
    closed_port: int,
    log: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The broker dies with all its queues under a worker that runs, and comes back empty."""
    if not shutil.which("redis-server"):
        pytest.skip("there is no redis-server to start")
    monkeypatch.setattr("dsn_celery.publisher.REST", 0.5)
    app = configure(f"redis://127.0.0.1:{closed_port}/0", beat_schedule=dsn_celery.beat_schedule(1))
    books.subscribe(5)
    running = contextlib.ExitStack()
    with contextlib.ExitStack() as server:
        server.enter_context(redis_server())
        running.enter_context(worker(environment(app), "--beat", "--schedule", os.fspath(log.with_name("beat"))))
        Movie.objects.create(name="before")
        wait_for(lambda: books.all_done(5), says=log.read_text)
    with running:
        for number in range(4):
            Movie.objects.create(name=f"meanwhile {number}")
        assert "could not be published" in caplog.text
        time.sleep(0.6)
        with redis_server():
            Movie.objects.create(name="after")
            wait_for(lambda: books.all_done(30), says=log.read_text)
            running.close()
    with capsys.disabled():
        book.report("celery, broker down for 4 of 6 commits")
    assert (book.lost(), book.doubled()) == (0, 0)


def test_a_connection_that_broke_off_since_it_was_used_is_made_anew(app: Any, caplog: Any) -> None:
    """As after a restart of the broker: the first task over the old connection would be lost."""
    caplog.set_level(logging.WARNING, "dsn_celery")
    assert publisher.publish(fan_out, "default")
    with publisher._connections().acquire() as connection:
        # Cut under its feet, so that it does not know.
        channel = connection.default_channel
        if app.conf.broker_url.startswith("amqp"):
            connection.connection.transport.sock.shutdown(socket.SHUT_RDWR)
        else:
            channel.client.connection_pool.disconnect()
    assert publisher.publish(fan_out, "default")
    assert caplog.text == ""


@requires_service("rabbitmq")
def test_of_several_brokers_the_next_one_is_tried(
    configure: Callable[..., Any], url_of: Callable[[str], str], queue: str, closed_port: int, silent_port: int
) -> None:
    hosts = [f"amqp://127.0.0.1:{port}//" for port in (closed_port, silent_port)]
    configure(";".join([*hosts, url_of("rabbitmq")]))
    assert publisher.publish(fan_out, "default")
    with Connection(url_of("rabbitmq")) as connection:
        assert connection.default_channel.queue_delete(queue) == 1
        connection.default_channel.exchange_delete(queue)


def test_a_child_process_makes_connections_of_its_own(app: Any) -> None:
    assert publisher.publish(fan_out, "default")
    ours = publisher._connections()
    pid = os.fork()
    if pid == 0:
        good = publisher._connections() is not ours and publisher.publish(fan_out, "default")
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert publisher._connections() is ours
    assert publisher.publish(fan_out, "default")
