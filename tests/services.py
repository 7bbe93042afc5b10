"""The services that tests can use: where they are, and whether they answer.

To add one: write its probe, and add it to :data:`SERVICES`. The environment says where it is, as
``DSN_TEST_<NAME>_<KEY>`` (``DSN_TEST_POSTGRESQL_PORT``); without that it is where it usually is.
A test that needs it says so with ``@requires_service("<name>")``. While the service does not answer, the
test is skipped, and in CI (where the environment has ``CI``) it fails.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

#: Seconds after which a service counts as absent.
PATIENCE = 3


@dataclass(frozen=True)
class Service:
    """Something outside of this process. ``probe`` raises when it cannot be used."""

    name: str
    #: The keys of its settings, and their values where the environment has none.
    defaults: Mapping[str, str]
    probe: Callable[[Mapping[str, str]], None]

    def variable(self, key: str) -> str:
        """The environment variable that sets ``key``."""
        return f"DSN_TEST_{self.name}_{key}".upper()

    def settings(self) -> dict[str, str]:
        """Where it is, and how to log in."""
        return {key: os.environ.get(self.variable(key), default) for key, default in self.defaults.items()}


def _probe_postgresql(settings: Mapping[str, str]) -> None:
    import psycopg

    psycopg.connect(
        host=settings["HOST"],
        port=int(settings["PORT"]),
        user=settings["USER"],
        password=settings["PASSWORD"],
        dbname="postgres",
        connect_timeout=PATIENCE,
    ).close()


def _probe_mariadb(settings: Mapping[str, str]) -> None:
    import MySQLdb

    MySQLdb.connect(
        host=settings["HOST"],
        port=int(settings["PORT"]),
        user=settings["USER"],
        password=settings["PASSWORD"],
        connect_timeout=PATIENCE,
    ).close()


def _probe_rabbitmq(settings: Mapping[str, str]) -> None:
    import amqp

    connection = amqp.Connection(
        host=f"{settings['HOST']}:{settings['PORT']}",
        userid=settings["USER"],
        password=settings["PASSWORD"],
        connect_timeout=PATIENCE,
    )
    connection.connect()
    connection.close()


def _probe_redis(settings: Mapping[str, str]) -> None:
    import redis

    with redis.Redis(
        host=settings["HOST"],
        port=int(settings["PORT"]),
        password=settings["PASSWORD"] or None,
        socket_connect_timeout=PATIENCE,
        socket_timeout=PATIENCE,
    ) as client:
        client.ping()


SERVICES = {
    service.name: service
    for service in (
        Service(
            "postgresql",
            {"HOST": "127.0.0.1", "PORT": "5432", "USER": "postgres", "PASSWORD": ""},
            _probe_postgresql,
        ),
        Service(
            "mariadb",
            {"HOST": "127.0.0.1", "PORT": "3306", "USER": "root", "PASSWORD": ""},
            _probe_mariadb,
        ),
        Service(
            "rabbitmq",
            {"HOST": "127.0.0.1", "PORT": "5672", "USER": "guest", "PASSWORD": "guest"},
            _probe_rabbitmq,
        ),
        Service("redis", {"HOST": "127.0.0.1", "PORT": "6379", "PASSWORD": ""}, _probe_redis),
    )
}


@functools.cache
def absence(name: str) -> str:
    """Why the service cannot be used, in one line; empty when it answers. Asked once per process.

    Every driver has errors of its own, and whichever it is means that the tests cannot use the service.
    """
    service = SERVICES[name]
    try:
        service.probe(service.settings())
    except ModuleNotFoundError as error:
        return f"the Python package {error.name} is not installed"
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        return f"{said} (set {service.variable('HOST')}, {service.variable('PORT')}, ... if it is elsewhere)"
    return ""


def is_required() -> bool:
    """Whether an absent service is a failure, as it is in CI."""
    return os.environ.get("CI", "").lower() not in {"", "0", "false"}


def requires_service(name: str) -> pytest.MarkDecorator:
    """Mark a test (or a module, as ``pytestmark``) that needs the service."""
    import pytest

    if name not in SERVICES:
        raise ValueError(f"There is no service {name!r} in tests/services.py; there are {', '.join(sorted(SERVICES))}.")
    return pytest.mark.requires_service(name)
