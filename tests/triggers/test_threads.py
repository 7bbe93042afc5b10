"""Connecting and disconnecting while other threads send."""

from __future__ import annotations

import contextlib
import functools
import itertools
import sys
import threading
import time

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.db.models import signals
from django.dispatch import Signal

from dsn_core import register_signal
from dsn_core.intake.trouble import errors
from dsn_core.models import Event, Trigger
from dsn_core.plugins.catalogue import catalogue
from dsn_core.triggers import signal_receivers
from dsn_core.triggers.connections import Connections
from dsn_core.triggers.dispatch import trigger_cache
from dsn_core.triggers.matcher import Matcher
from dsn_core.triggers.rules import Rule, prepared
from dsn_core.triggers.uncommitted_edits import Edit
from tests.testapp.models import Country, Movie, Place, Ticket

#: Seconds for which the threads of a test run.
SECONDS = 2.0


def run(*works, enough=lambda: True):
    """Run each of ``works`` again and again in a thread of its own until it is ``enough``; return what they raised."""
    raised, began = [], time.monotonic()

    def is_over():
        seconds = time.monotonic() - began
        return raised or seconds > 50 or (seconds > SECONDS and enough())

    def repeat(work):
        try:
            while not is_over():
                work()
        except Exception as error:
            raised.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
    interval = sys.getswitchinterval()
    # Threads take turns so often that what can go wrong in between does.
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(interval)
    assert not any(thread.is_alive() for thread in threads)
    return raised


def entry(number, model, verb="post_save", **parts):
    return prepared(Rule(trigger_id=number, label=str(number), verb=verb, action_model=model, **parts))


@pytest.fixture
def ours():
    """Connections that no database is asked for; the process's own ones listen to nothing meanwhile."""
    trigger_cache._share(Matcher({}))
    found = Connections()
    yield found
    found.cache._share(Matcher({}))
    trigger_cache.forget()
    assert not any(signals.post_save.has_listeners(model) for model in (Country, Movie, Place, Ticket))


def test_no_signal_is_missed_and_none_is_heard_twice(ours, monkeypatch):
    """Without a database, so that the threads get in one another's way as often as possible."""
    steady = {1: entry(1, Country), 2: entry(2, None, verb="ticked")}
    more = {number: entry(number, model) for number, model in enumerate((Country, Movie, Place, Ticket), start=3)}
    more[10] = entry(10, Country, verb="pre_save")
    more[11] = entry(11, None, verb="request_started")
    ticked = Signal()
    register_signal("ticked", ticked)
    heard, sent = {"post_save": itertools.count(), "ticked": itertools.count()}, [0, 0]

    def record(matches, source):
        for call, found in matches:
            assert (1 if call.verb == "post_save" else 2) in [item.trigger_id for item in found]
            next(heard[call.verb])

    monkeypatch.setattr(signal_receivers.intake, "record", record)
    numbers = itertools.count()

    def share():
        chosen = {key: item for key, item in more.items() if next(numbers) * 7 % (key + 2) < 3}
        ours.cache._share(Matcher(steady | chosen))

    def send():
        # Only the steady trigger's verb: what others name comes and goes.
        instance = Country(code="de")
        signals.post_save.send(sender=Country, instance=instance, created=False, raw=False, using="default")
        sent[0] += 1

    def tick():
        ticked.send(sender=None)
        sent[1] += 1

    ours.cache._share(Matcher(steady))
    try:
        assert run(share, share, ours.cache.catalogue_changed, send, tick, enough=lambda: min(sent) > 100) == []
        assert min(sent) > 100
        assert [next(heard["post_save"]), next(heard["ticked"])] == sent
    finally:
        catalogue.remove("ticked")


def test_views_of_transactions_come_and_go_while_others_connect(ours):
    """Rollbacks drop views in the threads that roll back, while others look at all views."""

    class Connection:
        """As much of a connection as a view needs: a list that a rollback replaces."""

        def __init__(self):
            self.run_on_commit = []

    def edit_and_roll_back():
        connection = Connection()
        edits = [Edit([number], {number: entry(number, Movie)}, lambda edit: None) for number in range(100, 105)]
        for edit in edits:
            connection.run_on_commit.append((set(), edit, True))
            with ours.cache._lock:
                ours.cache._edits.add(connection, edit, ours.cache._shared)
                ours.cache.connect()
        del edit, edits
        assert len(ours.cache._edits.of(connection, None)) == 5
        connection.run_on_commit = connection.run_on_commit[:2]
        assert len(ours.cache._edits.of(connection, None)) == 2
        connection.run_on_commit = []
        assert ours.cache._edits.of(connection, None) is None

    def share():
        ours.cache._share(Matcher({1: entry(1, Country)}))

    assert run(edit_and_roll_back, edit_and_roll_back, share, ours.cache.catalogue_changed) == []
    assert not ours.cache._edits


@pytest.mark.django_db(transaction=True)
def test_rows_that_are_saved_while_others_edit_and_roll_back(listen, settings):
    settings.DSN = {"RUNNER": "worker", "REFRESH_SECONDS": 0}
    steady = listen("post_save", action_object=Place)
    names = itertools.count()
    saved = []
    lost_before = errors["intake"]

    def insist(*vendors):
        """Try again where these databases refuse a statement; a test that is stuck runs into its time limit."""

        def trying(work):
            @functools.wraps(work)
            def tried():
                while True:
                    try:
                        return work()
                    except OperationalError:
                        if connection.vendor not in vendors:
                            raise

            return tried

        return trying

    # SQLite has one writer at a time, and on a busy machine one of many may wait in vain for its turn. MariaDB's manual
    # asks to try again after a deadlock: editors do, but saving a row must not meet one.
    @insist("sqlite")
    def save():
        saved.append(Place.objects.create(name=str(next(names))).pk)

    @insist("mysql", "sqlite")
    def edit():
        for model in (Movie, Country):
            listen("post_save", action_object=model, target=threading.current_thread().name).delete()

    @insist("mysql", "sqlite")
    def roll_back():
        with contextlib.suppress(ZeroDivisionError), transaction.atomic():
            Trigger.objects.filter(pk=steady.pk).delete()
            listen("post_save", action_object=Place, target="x")
            raise ZeroDivisionError

    def look():
        trigger_cache.refresh()
        connections.close_all()

    assert run(save, save, edit, roll_back, look, enough=lambda: len(saved) > 10) == []
    assert len(saved) > 10
    # Each was matched. On SQLite an INSERT may wait in vain for the lock that so many writers want: an error is logged.
    recorded = Event.objects.filter(trigger_id=steady.pk).count()
    assert recorded + errors["intake"] - lost_before == len(saved)
    assert recorded == Event.objects.count()
    assert Trigger.objects.count() == 1
    assert len(trigger_cache.matcher() or ()) == 1
