"""Brokers, the app that publishes in this process, and worker processes."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
import redis
from celery import Celery, current_app

from dsn_celery.publisher import publisher
from tests.ledger import books
from tests.ledger.messenger import LedgerMessenger
from tests.services import SERVICES, requires_service
from tests.waiting import wait_for

BROKERS = [pytest.param(name, marks=requires_service(name)) for name in ("rabbitmq", "redis")]


def _url_of(name: str) -> str:
    where = SERVICES[name].settings()
    if name == "rabbitmq":
        return f"amqp://{where['USER']}:{where['PASSWORD']}@{where['HOST']}:{where['PORT']}//"
    password = f":{where['PASSWORD']}@" if where["PASSWORD"] else ""
    return f"redis://{password}{where['HOST']}:{where['PORT']}/0"


@pytest.fixture
def url_of() -> Callable[[str], str]:
    """The address of a broker, by its name."""
    return _url_of


@pytest.fixture
def queue() -> str:
    """The name of a queue that no other run has."""
    return f"dsn-test-{uuid.uuid4().hex}"


@pytest.fixture
def configure(queue: str) -> Iterator[Callable[..., Celery]]:
    """Make a Celery app current in this process, with the queue to itself."""
    before = current_app._get_current_object()
    made: list[Celery] = []

    def make(url: str, **conf: Any) -> Celery:
        app = Celery("tests", set_as_current=True)
        app.conf.update(
            {
                "broker_url": url,
                "broker_connection_retry_on_startup": True,
                "task_default_queue": queue,
                "worker_enable_remote_control": False,
                # For Redis, where it makes all keys ours. Otherwise nobody asks for it.
                "broker_transport_options": {"global_keyprefix": f"{queue}:"} if url.startswith("redis") else {},
                "beat_schedule": {},
                **conf,
            }
        )
        made.append(app)
        return app

    yield make
    publisher.close()
    for app in made:
        app.close()
    before.set_current()


@pytest.fixture(params=BROKERS)
def app(request: pytest.FixtureRequest, configure: Callable[..., Celery], queue: str) -> Iterator[Celery]:
    """The same, on a real broker: on each, unless the test names one."""
    app = configure(_url_of(request.param))
    yield app
    forget(app, queue)
    forget(app, f"{queue}-ledger")


def forget(app: Celery, queue: str) -> None:
    """Leave nothing of a queue on the broker, nor of what workers that were killed had taken."""
    if app.conf.broker_url.startswith("redis"):
        with redis.Redis.from_url(app.conf.broker_url) as client:
            if keys := list(client.scan_iter(f"{queue}*")):
                client.delete(*keys)
    else:
        with app.connection_for_write() as connection:
            connection.default_channel.queue_delete(queue)
            connection.default_channel.exchange_delete(queue)


@pytest.fixture
def book(dsn: Any, tmp_path: Path) -> books.Book:
    """What the messenger ``ledger`` sent, which is installed here and in the workers."""
    dsn.add(LedgerMessenger)
    return books.Book(tmp_path / "book")


@pytest.fixture
def environment(child_environment: dict[str, str], book: books.Book) -> Callable[..., dict[str, str]]:
    """The environment of workers of ``app``. ``seconds``: what a message takes; capitals go into DSN."""

    def make(app: Celery, *, seconds: float = 0, **dsn: Any) -> dict[str, str]:
        dsn = {"RUNNER": "celery", "PLUGINS": ["celery"], **dsn}
        env = books.environment(child_environment, book, seconds=seconds, **dsn)
        names = (
            "broker_url",
            "broker_connection_retry_on_startup",
            "task_default_queue",
            "worker_enable_remote_control",
            "broker_transport_options",
            "beat_schedule",
            "task_routes",
        )
        return env | {
            # Containers run as root, and Celery warns of it at length.
            "C_FORCE_ROOT": "1",
            "DSN_TEST_CELERY": json.dumps({name: app.conf[name] for name in names}),
            "PYTHONPATH": os.pathsep.join([os.fspath(Path(__file__).parent), env["PYTHONPATH"]]),
        }

    return make


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """What the processes say."""
    return tmp_path / "log"


@pytest.fixture
def worker(log: Path) -> Callable[..., AbstractContextManager[Popen[bytes]]]:
    """A worker process, ready when the block begins."""

    @contextlib.contextmanager
    def run(env: dict[str, str], *arguments: str, concurrency: int = 1) -> Iterator[Popen[bytes]]:
        command = [sys.executable, "-m", "celery", "-A", "celery_project", "worker", "--loglevel", "INFO"]
        command += ["--concurrency", str(concurrency), "--without-gossip", "--without-mingle", "--without-heartbeat"]
        said_before = log.stat().st_size if log.exists() else 0
        with books.process([*command, *arguments], env, log) as process:
            wait_for(lambda: b" ready." in log.read_bytes()[said_before:], says=log.read_text)
            yield process

    return run


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]
