"""``manage.py dsn_worker``: once, and watching, as real processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from dsn_core.fanout.expander import Expander
from dsn_core.models import Delivery, Trigger
from dsn_core.queue.claiming import Work
from dsn_core.runners.worker import Worker
from tests.testapp.models import Movie
from tests.waiting import PATIENCE, wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

COMMAND = [sys.executable, "-m", "django", "dsn_worker"]


@pytest.fixture(autouse=True)
def _workers_runner(settings: Any) -> None:
    settings.DSN = {"RUNNER": "worker"}


@pytest.fixture
def subscribed(transactional_db: None) -> None:
    ann = User.objects.create_user("ann")
    trigger = Trigger.objects.define("post_save", action_object=Movie)
    trigger.subscribe(users=[ann], backends=[("console", "simple")])


@contextmanager
def watching(environment: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Watching for work")
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def test_once_sends_what_is_due_and_ends(subscribed, child_environment) -> None:
    Movie.objects.create(name="Brazil")
    done = subprocess.run([*COMMAND, "--once"], env=child_environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Action object: Brazil" in done.stdout
    assert "Done: 1 events, 1 deliveries." in done.stdout
    assert Delivery.objects.get().status == "sent"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_watching_sends_what_comes_and_ends_in_good_order(number, subscribed, child_environment) -> None:
    with watching(child_environment) as process:
        Movie.objects.create(name="Brazil")
        wait_for(lambda: Delivery.objects.filter(status="sent").exists())
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")
    assert "Action object: Brazil" in out
    assert "Done: 1 events, 1 deliveries." in out


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
def test_reloading_goes_on_under_the_same_process_id(subscribed, child_environment) -> None:
    with watching(child_environment) as process:
        assert process.stdout is not None
        process.send_signal(signal.SIGHUP)
        said = [process.stdout.readline() for _ in range(3)]
        assert said[1] == "Reloading.\n", said
        assert said[2].startswith("Watching for work")
        Movie.objects.create(name="Brazil")
        wait_for(lambda: Delivery.objects.filter(status="sent").exists())
        process.terminate()
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")
    assert "Done: 1 events, 1 deliveries." in out


def children_of(process: subprocess.Popen[str]) -> set[int]:
    command = [shutil.which("pgrep") or "pgrep", "-P", str(process.pid)]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    return set(map(int, listed.stdout.split()))


@pytest.mark.skipif(not (hasattr(os, "fork") and shutil.which("pgrep")), reason="this system has no fork, or no pgrep")
def test_one_of_several_processes_that_dies_is_replaced_and_all_end_together(subscribed, child_environment) -> None:
    with watching(child_environment, "--processes", "2") as process:
        try:
            wait_for(lambda: len(children_of(process)) == 2)
            killed, survivor = children_of(process)
            os.kill(killed, signal.SIGKILL)
            wait_for(lambda: len(children_of(process) - {killed}) == 2)
            children = children_of(process)
            assert survivor in children
            Movie.objects.create(name="Brazil")
            wait_for(lambda: Delivery.objects.filter(status="sent").exists())
            process.terminate()
            _out, err = process.communicate(timeout=PATIENCE)
        finally:
            # Should it have failed: who is orphaned goes on for ever.
            for pid in children_of(process):
                os.kill(pid, signal.SIGKILL)
    assert process.returncode == 0
    assert f"({killed}) ended with -9; another one takes its place" in err
    for pid in children:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.skipif(not (hasattr(os, "fork") and shutil.which("pgrep")), reason="this system has no fork, or no pgrep")
def test_several_processes_end_when_the_first_is_killed(subscribed, child_environment) -> None:
    with watching(child_environment, "--processes", "2") as process:
        wait_for(lambda: len(children_of(process)) == 2)
        children = children_of(process)
        process.kill()
        try:
            # They write where it does: that comes to an end when the last of them has ended.
            process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            for pid in children:
                os.kill(pid, signal.SIGKILL)
            raise


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
@pytest.mark.parametrize(("asked", "reloads"), [(["SIGHUP", "SIGTERM"], 0), (["SIGHUP"], 1)])
def test_a_request_to_end_during_a_reload_ends_it(subscribed, monkeypatch, asked, reloads) -> None:
    reloaded: list[object] = []
    # Under nohup it is ignored, which is neither the default nor the worker's handler.
    before = signal.getsignal(signal.SIGHUP)
    monkeypatch.setattr(os, "execv", lambda *command: reloaded.append(command))

    def ask() -> None:
        wait_for(lambda: signal.getsignal(signal.SIGHUP) is not before)
        for name in asked:
            os.kill(os.getpid(), getattr(signal, name))

    threading.Thread(target=ask).start()
    call_command("dsn_worker")
    assert len(reloaded) == reloads


def test_watching_comes_back_after_its_connection_was_lost(subscribed, child_environment) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("a file is not lost like a server")
    with watching(child_environment) as process:
        Movie.objects.create(name="Brazil")
        wait_for(lambda: Delivery.objects.filter(status="sent").exists())
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            else:
                cursor.execute(
                    "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
                )
                for (number,) in cursor.fetchall():
                    cursor.execute(f"KILL {int(number)}")
        Movie.objects.create(name="Alien")
        wait_for(lambda: Delivery.objects.filter(status="sent").count() == 2)
        process.terminate()
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert "Action object: Alien" in out


def test_a_database_that_is_away_is_waited_for(subscribed, dsn, monkeypatch, caplog, capsys) -> None:
    Movie.objects.create(name="Brazil")
    worker = Worker("default")
    troubles = [OperationalError("server closed the connection")] * 2
    work = Expander.work

    def expand(self: Any) -> Work:
        if troubles:
            raise troubles.pop()
        done = work(self)
        worker.stop()
        return done

    monkeypatch.setattr(Expander, "work", expand)
    monkeypatch.setattr("dsn_core.runners.worker_threads.POLL_SECONDS", 0.01)
    assert worker.watch().events == 1
    assert caplog.text.count("The fan-out could not go on, and tries again: OperationalError") == 2


def test_only_the_named_messengers_are_sent_by(subscribed, child_environment, dsn, capsys) -> None:
    Trigger.objects.get().subscribe("more", users=User.objects.all(), backends=[("memory", "simple")])
    Movie.objects.create(name="Brazil")
    call_command("dsn_worker", "--once", "--messenger", "memory")
    assert sorted(Delivery.objects.values_list("messenger", "status")) == [("console", "pending"), ("memory", "sent")]
    with pytest.raises(CommandError, match=r"No such messenger: pigeon\. There are console, .*memory"):
        call_command("dsn_worker", "--once", "--messenger", "pigeon")


def test_a_call_in_this_process_leaves_the_handlers_of_signals_as_they_were(subscribed, capsys) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    call_command("dsn_worker", "--once")
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    assert "Done: 0 events, 0 deliveries." in capsys.readouterr().out


def test_a_worker_that_was_asked_to_stop_claims_no_further_batch(subscribed, dsn) -> None:
    Movie.objects.create(name="Brazil")
    worker = Worker("default")
    worker.stop()
    assert not worker.drain()
    assert not worker.watch()
    assert Delivery.objects.count() == 0


@pytest.mark.skipif(connection.vendor != "sqlite", reason="makes a database of its own")
def test_once_says_what_to_do_while_the_tables_are_missing(tmp_path: Path) -> None:
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "DSN_TEST_DATABASE_NAME": str(tmp_path / "empty.sqlite3"),
        "PYTHONPATH": os.pathsep.join([os.fspath(django_settings.BASE_DIR), os.environ.get("PYTHONPATH", "")]),
    }
    done = subprocess.run(
        [*COMMAND, "--once"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 1
    assert "run 'manage.py migrate' first" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("processors", "said"), [({0}, False), ({0, 1, 2}, True)])
def test_it_says_which_processors_it_leaves_unused(processors, said, transactional_db, monkeypatch, capsys) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: processors, raising=False)
    monkeypatch.setattr(Worker, "watch", Worker.drain)
    call_command("dsn_worker")
    expected = said and connection.vendor != "sqlite"
    assert ("One process uses one of 3 processors" in capsys.readouterr().out) is expected
