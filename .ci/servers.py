"""Starts the services of ``tests/services.py`` that do not answer: on loopback, on free ports, with data of their own.

They end with the :class:`contextlib.ExitStack` that is given.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, os.fspath(ROOT))

from tests import services  # noqa: E402 - the checkout is not installed here

#: Seconds until a service must answer.
PATIENCE = 180


@dataclass(frozen=True)
class Server:
    """How a service is started: programs, and what they are given. ``{data}`` is its folder, ``{port}`` its port."""

    #: Its name in tests/services.py.
    name: str
    #: Debian's package, and the user that it makes: servers refuse to run as root.
    package: str
    user: str
    command: Sequence[str]
    #: What fills the folder.
    prepare: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def find(self, program: str = "") -> str | None:
        """Where a program is; the server itself, if none is named."""
        folders = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), "/usr/sbin"]
        path = os.pathsep.join([*map(os.fspath, folders), os.environ.get("PATH", "")])
        return shutil.which(program or self.command[0], path=path)

    def start(self, folder: Path) -> subprocess.Popen[bytes]:
        """Start it in ``folder``. Sets the environment variables by which tests find it."""
        port = free_port()
        service = services.SERVICES[self.name]
        os.environ |= {service.variable(key): value for key, value in (service.defaults | {"PORT": str(port)}).items()}
        data = folder / self.name
        data.mkdir()
        owner = {"user": self.user, "group": self.user, "extra_groups": []} if os.geteuid() == 0 else {}
        if owner:
            shutil.chown(data, self.user, self.user)
        given = {"data": os.fspath(data), "port": str(port), "other_port": str(free_port())}
        environment = os.environ | {name: value.format(**given) for name, value in self.environment.items()}
        with (folder / f"{self.name}.log").open("ab") as log:

            def start(command: Sequence[str]) -> subprocess.Popen[bytes]:
                program = self.find(command[0])
                if program is None:
                    raise FileNotFoundError(f"there is no {command[0]}")
                arguments = [argument.format(**given) for argument in command[1:]]
                return subprocess.Popen(
                    [program, *arguments], env=environment, cwd=data, start_new_session=True,
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, **owner,
                )  # fmt: skip

            if self.prepare and start(self.prepare).wait(PATIENCE):
                raise RuntimeError(f"{self.prepare[0]} failed")
            return start(self.command)


SERVERS = (
    Server(
        "postgresql",
        package="postgresql",
        user="postgres",
        prepare=("initdb", "-D", "{data}", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"),
        command=(
            *("postgres", "-D", "{data}", "-h", "127.0.0.1", "-p", "{port}", "-k", "{data}"),
            *("-c", "fsync=off", "-c", "max_connections=200"),
        ),
    ),
    Server(
        "mariadb",
        package="mariadb-server",
        user="mysql",
        prepare=(
            *("mariadb-install-db", "--no-defaults", "--datadir={data}", "--skip-test-db"),
            "--auth-root-authentication-method=normal",
        ),
        command=(
            *("mariadbd", "--no-defaults", "--datadir={data}", "--bind-address=127.0.0.1", "--port={port}"),
            *("--socket={data}/socket", "--pid-file={data}/pid", "--innodb-flush-log-at-trx-commit=0"),
        ),
    ),
    Server(
        "redis",
        package="redis-server",
        user="redis",
        command=("redis-server", "--bind", "127.0.0.1", "--port", "{port}", "--save", "", "--dir", "{data}"),
    ),
    Server(
        "rabbitmq",
        package="rabbitmq-server",
        user="rabbitmq",
        # Past Debian's wrapper, which knows one node only.
        command=("/usr/lib/rabbitmq/bin/rabbitmq-server",),
        environment={
            "HOME": "{data}",
            "RABBITMQ_NODENAME": "dsn-ci-{port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": "{port}",
            "RABBITMQ_DIST_PORT": "{other_port}",
            "RABBITMQ_MNESIA_BASE": "{data}/mnesia",
            "RABBITMQ_LOG_BASE": "{data}/log",
            "RABBITMQ_PID_FILE": "{data}/pid",
            "RABBITMQ_ENABLED_PLUGINS_FILE": "{data}/plugins",
            "RABBITMQ_CONFIG_FILE": "{data}/none",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        },
    ),
)


def start_missing(folder: Path, stack: contextlib.ExitStack) -> str:
    """Start the services that do not answer, side by side; return which could not be started."""
    missing = [server for server in SERVERS if services.absence(server.name)]
    started = {server.name: _start(server, folder, stack) for server in missing}
    return ", ".join(server.name for server in SERVERS if not _answers(server.name, started, folder))


def _start(server: Server, folder: Path, stack: contextlib.ExitStack) -> subprocess.Popen[bytes] | None:
    try:
        process = server.start(folder)
    except (OSError, LookupError, RuntimeError, subprocess.TimeoutExpired) as error:
        print(f"{server.name} could not be started: {error}", flush=True)
        return None
    stack.callback(end, process)
    return process


def _answers(name: str, started: Mapping[str, subprocess.Popen[bytes] | None], folder: Path) -> bool:
    """Whether the service answers, now or when the one that was ``started`` is ready. Says so."""
    process = started.get(name)
    end = time.monotonic() + PATIENCE
    services.absence.cache_clear()
    while (reason := services.absence(name)) and process and process.poll() is None and time.monotonic() < end:
        time.sleep(0.2)
        services.absence.cache_clear()
    if reason:
        log = folder / f"{name}.log"
        print(f"{name} does not answer: {reason}\n{log.read_text()[-3_000:] if log.exists() else ''}", flush=True)
    else:
        print(f"{name} answers" + (" (started on a free port)" if name in started else ""), flush=True)
    return not reason


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process with all that it started in its group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
            if number == signal.SIGTERM:
                # What its leader left behind has a moment to end as well.
                time.sleep(0.1)
