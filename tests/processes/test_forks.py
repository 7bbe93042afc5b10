"""What a process that forks hands on to its children: what it knows, and no lock that nobody lets go."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from django.db import connection

from tests.testapp.models import Country, Movie
from tests.waiting import PATIENCE

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

#: A process with threads that forks, as uvicorn's, mod_wsgi's and many a daemon's do. Each child says what it sees
#: by its exit status, and ends itself when it waits for something that never comes.
PRELUDE = """
import contextlib, os, signal, sys, threading, time
import django
django.setup()
import dsn_core
from django.db import connection, connections, transaction
from django.db.models import signals
from dsn_core.models import Event, Trigger
from dsn_core.triggers.dispatch import trigger_cache
from tests.testapp.models import Country, Movie

def forked(work):
    connections.close_all()
    pid = os.fork()
    if not pid:
        signal.alarm(100)
        status = 99
        try:
            status = work()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def recorded():
    before = Event.objects.count()
    Movie.objects.create(name="M")
    return Event.objects.count() - before
"""

READING = """
# A thread that has been reading the triggers when the process forks, and takes its time.
begun, go_on = threading.Event(), threading.Event()

def slowly(execute, *arguments):
    begun.set()
    go_on.wait(30)
    return execute(*arguments)

def read():
    with connection.execute_wrapper(slowly):
        dsn_core.refresh()
    connections.close_all()

dsn_core.refresh()
thread = threading.Thread(target=read)
thread.start()
assert begun.wait(30)

def child():
    assert recorded() == 1
    dsn_core.refresh()
    Trigger.objects.all().delete()
    assert recorded() == 0
    return 7

print(forked(child))
go_on.set()
thread.join(30)
dsn_core.refresh()
print(recorded())
"""

CONNECTING = """
# A thread that connects and disconnects all the time. No child may find it halfway through.
dsn_core.refresh()
trigger = Trigger.objects.get()
stop = threading.Event()

def connect():
    # Every second time, what is known is prepared anew, and everything is connected again.
    while not stop.is_set():
        index = trigger_cache._shared
        trigger_cache._share(None)
        trigger_cache._share(index)

thread = threading.Thread(target=connect)
thread.start()

def child():
    consistent = (trigger_cache._shared is not None) == signals.post_save.has_listeners(Movie)
    with trigger_cache._reading, trigger_cache._lock:
        return 7 if consistent else 8

try:
    print({forked(child) for _ in range(60)})
finally:
    stop.set()
    thread.join(30)
"""

IN_A_TRANSACTION = """
# Another thread's transaction has edited the triggers. The child has no such thread, and no such edit.
edited, go_on = threading.Event(), threading.Event()

def edit():
    with contextlib.suppress(ZeroDivisionError), transaction.atomic():
        Trigger.objects.define("post_save", action_object=Country).subscribe()
        edited.set()
        go_on.wait(30)
        1 / 0
    connections.close_all()

dsn_core.refresh()
thread = threading.Thread(target=edit)
thread.start()
assert edited.wait(30)
assert trigger_cache._edits
print(forked(lambda: 8 if trigger_cache._edits or len(trigger_cache.matcher()) != 1 else 7))
assert trigger_cache._edits
go_on.set()
thread.join(30)
print(recorded())
"""


def run(code: str, environment: dict[str, str]) -> list[str]:
    done = subprocess.run(
        # Python 3.12 and newer warn of forks with threads: that is the point here.
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PRELUDE + code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


@pytest.fixture(autouse=True)
def trigger(listen: Any) -> Any:
    return listen("post_save", action_object=Movie)


def test_while_a_thread_reads(environment):
    assert run(READING, environment) == ["7", "0"]


def test_while_a_thread_connects(environment):
    assert run(CONNECTING, environment) == ["{7}"]


def test_while_a_threads_transaction_has_edits(environment):
    if connection.vendor == "sqlite":
        pytest.skip("one writer: the process would wait for itself")
    assert run(IN_A_TRANSACTION, environment) == ["7", "1"]
    assert not Country.objects.exists()
