"""What surrounds the code that fires signals: muted, and how deep."""

from __future__ import annotations

import threading

import pytest
from asgiref.sync import async_to_sync
from django.db import connections
from django.dispatch import Signal

import dsn_core
from dsn_core import context, emit, emit_many, muted, register_signal
from dsn_core.models import Event, Trigger
from dsn_core.plugins.catalogue import catalogue
from dsn_core.signals import event_recorded
from tests.testapp.models import Country, Movie

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("workers_runner")]


@pytest.fixture
def released():
    signal = Signal()
    register_signal("released", signal)
    Trigger.objects.define("released").subscribe()
    yield signal
    catalogue.remove("released")


@pytest.fixture
def listened(released):
    for verb in ("pre_save", "post_save", "post_delete", "m2m_changed"):
        Trigger.objects.define(verb, action_object=Movie).subscribe()
    return released


def busy(signal, user):
    movie = Movie.objects.create(name="M")
    movie.audiences.add(user)
    movie.delete()
    signal.send(sender=None)
    assert emit("released") is None
    assert emit_many("released", [None, None]) == [None, None]


class TestMuted:
    def test_nothing_matches_within(self, listened, django_user_model):
        ann = django_user_model.objects.create(username="ann")
        with muted():
            busy(listened, ann)
            with muted():
                pass
            busy(listened, ann)
        assert not Event.objects.exists()
        listened.send(sender=None)
        assert Event.objects.count() == 1

    def test_as_a_decorator_and_after_an_error(self, listened, django_user_model):
        ann = django_user_model.objects.create(username="ann")

        @muted()
        def load():
            busy(listened, ann)
            raise ZeroDivisionError

        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                load()
        assert not Event.objects.exists()
        listened.send(sender=None)
        assert Event.objects.count() == 1

    def test_it_runs_no_query(self, listened, django_assert_num_queries):
        movie = Movie.objects.create(name="M")
        with muted(), django_assert_num_queries(1):
            movie.save(force_update=True)

    def test_in_async_code_it_holds_for_its_task_and_the_threads_that_this_waits_for(self, listened):
        async def quiet():
            with muted():
                await listened.asend(sender=None)
                assert await dsn_core.aemit("released") is None
            await listened.asend(sender=None)

        async_to_sync(quiet)()
        assert Event.objects.count() == 1

    def test_a_save_that_began_unheard_is_not_heard_at_its_end(self, listened):
        """``pre_save`` is recorded when ``post_save`` comes: both must be within."""
        movie = Movie(name="M")
        with muted():
            movie.save()
        movie.save()
        assert list(Event.objects.values_list("verb", flat=True).order_by("verb")) == ["post_save", "pre_save"]


@pytest.mark.django_db(transaction=True)
def test_muted_holds_for_its_own_thread_only(listened):
    def other():
        Movie.objects.create(name="M")
        connections.close_all()

    with muted():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(30)
    assert Event.objects.filter(verb="post_save").count() == 1


def test_what_a_message_causes_is_not_muted_by_the_sending_code(listened):
    with muted(), context.working_on(0):
        listened.send(sender=None)
    assert Event.objects.get().depth == 1


def test_a_receiver_of_events_that_fires_signals_comes_to_an_end(released, caplog, settings):
    settings.DSN = {"RUNNER": "worker", "MAX_DEPTH": 3}

    def again(**kwargs):
        released.send(sender=None)

    event_recorded.connect(again)
    try:
        Country.objects.create(code="de")
        released.send(sender=None)
    finally:
        event_recorded.disconnect(again)
    assert sorted(Event.objects.values_list("depth", flat=True)) == [0, 1, 2, 3]
    assert caplog.text.count("messages cause one another in a loop") == 1
    assert context.depth() == 0
