"""Providers and databases that fail: rows 7 and 9 to 12."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection

from dsn_core.models import Delivery
from dsn_core.models.clock import DatabaseNow
from dsn_core.queue.waits import FIRST_RETRY
from tests.waiting import wait_for

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("seconds", [7])
def test_09_a_pause_of_all_workers(seconds, audience, stage, workers, provider, figure, tmp_path):
    audience(4)
    (tmp_path / "script").write_text(f"pause {seconds}")
    stage("scripted")
    running = [workers.start(), workers.start()]
    wait_for(lambda: Delivery.objects.filter(status="sent").count() == 4)
    assert {workers.stop(process) for process in running} == {0}
    times = [item.at for item in provider.taken()]
    gap = max(later - earlier for earlier, later in itertools.pairwise(times))
    attempts = set(Delivery.objects.values_list("attempts", flat=True))
    figure(f"retry-after {seconds}: no call for {gap:.1f} s, attempts used: {attempts}")
    assert seconds <= gap < seconds + 30
    assert attempts == {1}, "the pause used up none"


def test_10_three_errors_and_then_success(audience, stage, workers, provider, figure, tmp_path):
    audience(1)
    (tmp_path / "script").write_text("retry\nretry\nretry")
    stage("scripted")
    waits = []
    for attempt in range(1, 4):
        workers.finish()
        row = Delivery.objects.annotate(now=DatabaseNow()).get()
        waits.append((row.not_before - row.now).total_seconds())
        assert (row.status, row.attempts, row.last_error) == ("retry", attempt, "500")
        # Due at once, so that the test need not wait.
        Delivery.objects.update(not_before=DatabaseNow())
    workers.finish()
    row = Delivery.objects.get()
    figure(f"waits {', '.join(f'{wait:.0f} s' for wait in waits)}; sent at attempt {row.attempts}")
    assert (row.status, row.attempts, len(provider)) == ("sent", 4, 4)
    for number, wait in enumerate(waits):
        longest = FIRST_RETRY * 2**number
        assert longest / 2 - 5 <= wait <= longest


@pytest.mark.parametrize(("messenger", "status", "calls"), [("scripted", "unknown", 1), ("insistent", "sent", 2)])
def test_11_a_lost_answer_goes_by_the_policy(
    messenger, status, calls, audience, stage, workers, provider, figure, tmp_path
):
    audience(1)
    (tmp_path / "script").write_text("unknown")
    stage(messenger)
    workers.finish()
    Delivery.objects.filter(status="retry").update(not_before=DatabaseNow())
    workers.finish()
    row = Delivery.objects.get()
    figure(f"{messenger}: {row.status} after {len(provider)} calls under {len(provider.counts())} id")
    assert (row.status, len(provider), len(provider.counts())) == (status, calls, 1)


def test_12_a_permanent_refusal_is_tried_once(audience, stage, workers, provider, figure, tmp_path):
    audience(1)
    (tmp_path / "script").write_text("invalid")
    stage("scripted")
    workers.finish()
    workers.finish()
    row = Delivery.objects.get()
    figure(f"{row.status} after {row.attempts} attempt: {row.last_error}")
    assert (row.status, row.attempts, row.last_error, len(provider)) == ("failed", 1, "blocked", 1)


def test_23_a_session_that_takes_no_writes(audience, stage, workers, provider, figure, tmp_path, environment):
    """As after a fail-over, when the old primary answers as a replica: reading works, writing does not."""
    number, lease = 150, 2
    audience(number)
    stage("file")
    health = tmp_path / "health"
    process = workers.start("--health-file", os.fspath(health), FAULTS_SECONDS="0.02")

    def age() -> float:
        return time.time() - health.stat().st_mtime

    wait_for(lambda: len(provider) > 20)
    assert age() < 3
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    with connection.cursor() as cursor:
        # It holds for new sessions, so the worker's are ended and opened again.
        cursor.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        try:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            # Longer than a lease; no other worker could take the rows.
            time.sleep(3 * lease)
            taken = len(provider)
            wait_for(lambda: age() > 3 * lease - 2)
            time.sleep(lease)
            ill_for = age()
            assert ill_for > 4 * lease - 2, "a supervisor sees it"
            assert len(provider) == taken, "it begins nothing that it could not write down"
        finally:
            cursor.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    began = time.monotonic()
    wait_for(lambda: Delivery.objects.filter(status="sent").count() == number)
    resumed = time.monotonic() - began
    wait_for(lambda: age() < 3)
    assert workers.stop(process) == 0, workers.log
    counts = provider.counts()
    doubled = sum(counts.values()) - len(counts)
    figure(
        f"{number - len(counts)} lost, {doubled} doubled; health file {ill_for:.0f} s old, done {resumed:.0f} s after"
    )
    assert (len(counts), doubled) == (number, 0)
    assert "could not be settled, and is tried again" in workers.log


class Server:
    """A PostgreSQL server of this test's own, that it may restart."""

    def __init__(self, folder: Path) -> None:
        binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin")) or [Path(shutil.which("pg_ctl") or "/none").parent]
        self._bin = binaries[-1]
        self._data = folder / "data"
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        if not (self._bin / "pg_ctl").exists():
            pytest.skip("the server's programs (pg_ctl, initdb) are not installed")
        # The server's user is not ours.
        folder.chmod(0o755)
        self._data.mkdir()
        if os.geteuid() == 0:
            shutil.chown(self._data, "postgres")
        self._run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        self.start()

    def _run(self, program: str, *arguments: str) -> None:
        command = [os.fspath(self._bin / program), "-D", os.fspath(self._data), *arguments]
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        subprocess.run([*user, *command], check=True, stdout=subprocess.DEVNULL, timeout=300, cwd="/")

    def start(self) -> None:
        options = f"-h 127.0.0.1 -p {self.port} -k {self._data} -c fsync=off"
        self._run("pg_ctl", "-w", "-l", os.fspath(self._data / "log"), "-o", options, "start")

    def stop(self, mode: str) -> None:
        self._run("pg_ctl", "-w", "-m", mode, "stop")


@pytest.fixture
def server() -> Iterator[Server]:
    # Not in pytest's folder, which no other user may enter.
    with tempfile.TemporaryDirectory(prefix="dsn-faults-", ignore_cleanup_errors=True) as folder:
        made = Server(Path(folder))
        yield made
        made.stop("immediate")


PREPARE = """
import django; django.setup()
from django.contrib.auth.models import User
from django.core.management import call_command
from dsn_core import emit
from dsn_core.models import Trigger
call_command("migrate", verbosity=0)
User.objects.bulk_create([User(username=f"user{n}") for n in range({number})])
Trigger.objects.define("staged").subscribe("all", backends=[("file", "staged")], resolver="everyone")
assert emit("staged")
"""
COUNT = """
import django; django.setup()
from django.db.models import Count
from dsn_core.models import Delivery
print(dict(Delivery.objects.values_list("status").annotate(Count("pk")).order_by()))
"""


@pytest.mark.timeout(600)
def test_07_the_database_is_restarted_under_load(full, server, environment, workers, provider, figure):
    number, restarts = (10_000, 10) if full else (1_500, 2)
    elsewhere = {
        "DSN_TEST_DATABASE": "postgresql",
        "DSN_TEST_DATABASE_NAME": "postgres",
        "DSN_TEST_POSTGRESQL_PORT": str(server.port),
        "DSN_TEST_POSTGRESQL_HOST": "127.0.0.1",
        "DSN_TEST_POSTGRESQL_PASSWORD": "",
        "DSN_TEST_POSTGRESQL_USER": "postgres",
    }

    def run(code: str) -> str:
        command = [sys.executable, "-c", code]
        return subprocess.run(
            command, env=environment | elsewhere, check=True, capture_output=True, text=True, timeout=300
        ).stdout.strip()

    run(PREPARE.replace("{number}", str(number)))
    running = [workers.start(FAULTS_SECONDS="0.003", **elsewhere) for _ in range(2)]
    for restart in range(restarts):
        before = len(provider)
        wait_for(lambda before=before: len(provider) > before + 50)
        server.stop("immediate" if restart % 2 else "fast")
        time.sleep(0.5)
        server.start()
    wait_for(lambda: run(COUNT) == f"{{'sent': {number}}}", seconds=300)
    assert {workers.stop(process) for process in running} == {0}, workers.log
    counts = provider.counts()
    doubled = sum(counts.values()) - len(counts)
    figure(f"{restarts} restarts, {number:,} deliveries: {number - len(counts)} lost, {doubled} doubled")
    assert len(counts) == number
    assert doubled <= restarts * 2 * 100
