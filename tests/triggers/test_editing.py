"""When an edit of triggers holds, and for whom."""

from __future__ import annotations

import functools
import subprocess
import sys
import threading

import pytest
from django.db import connection, connections, transaction
from django.db.models import signals
from django.test import TestCase, TransactionTestCase

import dsn_core
from dsn_core.models import ConfigurationChange, Event, Subscription, Trigger
from dsn_core.triggers.dispatch import trigger_cache
from tests.testapp.models import Country, Movie, Place
from tests.undoing import Undo, undone


def hears(model):
    return signals.post_save.has_listeners(model)


def known():
    index = trigger_cache.matcher()
    return 0 if index is None else len(index)


def in_a_thread(work):
    """What ``work`` returns in another thread, on a connection of its own."""
    results = []

    def run():
        try:
            results.append(work())
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    return results[0]


@pytest.fixture(autouse=True)
def worker(settings):
    settings.DSN = {"RUNNER": "worker"}


@pytest.mark.django_db(transaction=True)
class TestCommitting:
    def test_an_edit_holds_at_once_for_its_connection_and_after_the_commit_for_all(self, listen, count):
        with transaction.atomic():
            trigger = listen("post_save", action_object=Country)
            assert known() == 1
            assert in_a_thread(known) == 0
            Country.objects.create(code="de")
            assert count(trigger) == 1
        assert known() == in_a_thread(known) == 1
        assert in_a_thread(lambda: Country.objects.create(code="at") and count(trigger)) == 2

    def test_an_edit_is_forgotten_after_a_rollback(self, listen):
        with undone():
            listen("post_save", action_object=Country)
            assert hears(Country)
        assert known() == 0
        assert not hears(Country)

    def test_disabling_is_forgotten_after_a_rollback(self, listen, count):
        trigger = listen("post_save", action_object=Country)
        with undone():
            Trigger.objects.update(enabled=False)
            assert known() == 0
        assert known() == 1
        Country.objects.create(code="de")
        assert count(trigger) == 1

    def test_the_rollback_of_a_savepoint_forgets_just_its_own_edits(self, listen):
        with transaction.atomic():
            listen("post_save", action_object=Country)
            with undone():
                listen("post_save", action_object=Movie)
                with transaction.atomic():
                    listen("post_save", action_object=Place)
                assert known() == 3
            assert known() == 1
            assert hears(Country)
            assert not hears(Movie)
            assert not hears(Place)
            with transaction.atomic():
                listen("post_save", action_object=Place)
        assert known() == 2
        assert in_a_thread(known) == 2
        assert hears(Place)

    def test_a_rollback_after_many_edits_takes_no_time_for_each(self, listen):
        with undone():
            for number in range(200):
                with transaction.atomic():
                    Trigger.objects.define("post_save", action_object=Country, target=str(number)).subscribe()
            assert known() == 200
        assert known() == 0
        assert not trigger_cache._edits

    def test_two_threads_edit_at_once_and_see_both_in_the_end(self, listen):
        @transaction.atomic
        def define(model):
            return listen("post_save", action_object=model)

        # None of them finds a version: all three make the row.
        threads = [
            threading.Thread(target=in_a_thread, args=(functools.partial(define, model),))
            for model in (Country, Movie, Place)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert known() == 3

    def test_a_callback_that_raises_after_the_commit_delays_an_edit_only_until_the_next_look(self, listen):
        def fail():
            raise Undo

        @transaction.atomic
        def edit():
            transaction.on_commit(fail)
            listen("post_save", action_object=Country)

        with pytest.raises(Undo):
            edit()
        trigger_cache.refresh()
        assert known() == 1

    def test_a_callback_that_edits_and_rolls_back_takes_nothing_away(self, listen):
        def fail():
            with undone():
                listen("post_save", action_object=Movie)

        with transaction.atomic():
            transaction.on_commit(fail)
            listen("post_save", action_object=Country)
            listen("post_save", action_object=Place)
        assert known() == in_a_thread(known) == 2
        assert not hears(Movie)

    def test_a_connection_that_is_closed_in_its_transaction_forgets_its_edits(self, listen):
        def edit_and_die():
            connection.set_autocommit(True)
            atomic = transaction.atomic()
            atomic.__enter__()
            listen("post_save", action_object=Country)
            connection.close()
            return known()

        assert in_a_thread(edit_and_die) == 0
        assert known() == 0
        assert not hears(Country)

    def test_a_subscription_that_is_moved_takes_its_trigger_along(self, listen):
        from_, to = listen("post_save", action_object=Country), Trigger.objects.define("post_save", action_object=Movie)
        Subscription.objects.filter(trigger=from_).update(trigger=to)
        assert not hears(Country)
        assert hears(Movie)


@pytest.mark.django_db
class TestInsideOfATestsTransaction:
    def test_running_the_callbacks_of_a_transaction_that_goes_on_commits_nothing(
        self, listen, django_capture_on_commit_callbacks
    ):
        with django_capture_on_commit_callbacks(execute=True):
            listen("post_save", action_object=Country)
        assert known() == 1
        assert len(trigger_cache._shared or ()) == 0

    def test_refreshing_tells_the_other_tests_nothing(self, listen):
        listen("post_save", action_object=Country)
        dsn_core.refresh()
        assert known() == 1
        assert len(trigger_cache._shared or ()) == 0

    def test_nothing_is_left_of_the_tests_before(self):
        assert known() == 0
        assert not any(hears(model) for model in (Country, Movie, Place))


class FirstTestCase(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.trigger = Trigger.objects.define("post_save", action_object=Movie)
        cls.trigger.subscribe()

    def test_a_sees_the_class_own_trigger_and_its_own(self):
        Trigger.objects.define("post_save", action_object=Country).subscribe()
        Trigger.objects.filter(pk=self.trigger.pk).update(enabled=False)
        assert hears(Country)
        assert known() == 1

    def test_b_sees_the_class_own_trigger_again_and_no_other(self):
        assert known() == 1
        assert hears(Movie)
        assert not hears(Country)
        Movie.objects.create(name="M")
        assert Event.objects.count() == 1


class SecondTestCase(TestCase):
    def test_sees_nothing_of_another_class(self):
        assert known() == 0
        assert not hears(Movie)
        Movie.objects.create(name="M")
        with self.assertNumQueries(1):
            Country.objects.all().delete()


class ThirdTestCase(TransactionTestCase):
    def test_a_commits_a_trigger(self):
        Trigger.objects.define("post_save", action_object=Movie).subscribe()
        assert known() == 1

    def test_b_sees_nothing_of_it(self):
        assert known() == 0
        assert not hears(Movie)


EDIT = """
import django
django.setup()
from dsn_core.models import Trigger
from tests.testapp.models import Country
trigger = Trigger.objects.define("post_save", action_object=Country)
{then}
"""


@pytest.mark.django_db(transaction=True)
class TestOtherProcesses:
    def run(self, environment, then):
        subprocess.run([sys.executable, "-c", EDIT.format(then=then)], env=environment, check=True, timeout=300)

    def test_their_edits_are_seen_after_a_refresh(self, child_environment, count):
        dsn_core.refresh()
        self.run(child_environment, "trigger.subscribe()")
        assert known() == 0
        dsn_core.refresh()
        Country.objects.create(code="de")
        trigger = Trigger.objects.get()
        assert count(trigger) == 1
        self.run(child_environment, "trigger.subscriptions.all().delete()")
        dsn_core.refresh()
        assert not hears(Country)

    def test_the_state_tells_of_them_when_it_is_time_to_look(
        self, child_environment, settings, django_assert_num_queries
    ):
        dsn_core.refresh()
        settings.DSN = {"RUNNER": "worker", "REFRESH_SECONDS": 0}
        trigger_cache.refresh()
        with django_assert_num_queries(1):
            trigger_cache.refresh()
        self.run(child_environment, "trigger.subscribe()")
        with django_assert_num_queries(3):
            trigger_cache.refresh()
        assert known() == 1
        settings.DSN = {"RUNNER": "worker", "REFRESH_SECONDS": 3_600}
        self.run(child_environment, "trigger.delete()")
        with django_assert_num_queries(0):
            trigger_cache.refresh()

    def test_a_process_sees_what_was_there_before_it_at_its_first_connection(self, child_environment, listen, count):
        trigger = listen("post_save", action_object=Country)
        self.run(child_environment, "Country.objects.create(code='de')")
        assert count(trigger) == 1


@pytest.mark.django_db
def test_every_kind_of_edit_changes_the_state(listen):
    def state():
        return ConfigurationChange.state("default")

    # There since migrate.
    seen = [state()]
    trigger = listen("post_save", action_object=Country)
    seen.append(state())
    for edit in (
        trigger.save,
        lambda: Trigger.objects.update(target="x"),
        lambda: Trigger.objects.bulk_update([trigger], ["target"]),
        lambda: trigger.subscribe(enabled=False),
        lambda: Subscription.objects.update(enabled=True),
        lambda: Subscription.objects.all().delete(),
        lambda: Subscription.objects.bulk_create([Subscription(trigger=trigger)]),
        trigger.delete,
    ):
        edit()
        seen.append(state())
    assert len(set(seen)) == len(seen)


@pytest.mark.django_db(transaction=True)
def test_signals_are_sent_while_other_threads_connect_and_disconnect(listen, count):
    steady = listen("post_save", action_object=Country)
    stop = threading.Event()
    raised = []

    def edit():
        try:
            while not stop.is_set():
                for model in (Movie, Place):
                    listen("post_save", action_object=model).delete()
        except Exception as error:
            raised.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=edit)
    thread.start()
    try:
        for number in range(50):
            Country.objects.create(code=f"{number:02}")
    finally:
        stop.set()
        thread.join(60)
    assert raised == []
    assert count(steady) == 50
    assert known() == 1
