"""What fires no signal: ``emit``, ``emit_many`` and their async forms."""

from __future__ import annotations

import re

import pytest
from asgiref.sync import async_to_sync
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from dsn_core import aemit, aemit_many, emit, emit_many, muted
from dsn_core.exceptions import UnknownName
from dsn_core.intake import storing as recording
from dsn_core.models import Event
from tests.shapes.models import Vehicle
from tests.testapp.models import Country, Movie, Place, Seat

pytestmark = pytest.mark.django_db


def movies(number):
    Movie.objects.bulk_create([Movie(name=str(n)) for n in range(number)])
    return list(Movie.objects.order_by("pk"))


def statements(work):
    with CaptureQueriesContext(connection) as captured:
        work()
    # PostgreSQL is given a savepoint, the statement and its release as one.
    found = [re.sub(r"^SAVEPOINT \S+;\s*", "", query["sql"]).split()[0] for query in captured.captured_queries]
    return [word for word in found if word not in ("SAVEPOINT", "RELEASE", "BEGIN", "COMMIT")]


def test_many_events_are_one_insert(listen, count):
    made = movies(300)
    every, one = listen("post_save", action_object=Movie), listen("post_save", action_object=made[7])
    assert statements(lambda: emit_many("post_save", made, created=True)) == ["INSERT"]
    assert (count(every), count(one)) == (300, 1)
    occurrences = dict(Event.objects.filter(trigger=every).values_list("id", "occurrence"))
    assert len(set(occurrences.values())) == 300
    assert Event.objects.get(trigger=one).occurrence in occurrences.values()
    assert {event.action_object.pk for event in Event.objects.filter(trigger=every)} == {movie.pk for movie in made}


def test_more_than_a_statement_takes_is_a_few(listen, count, monkeypatch):
    monkeypatch.setattr(recording, "MAX_ROWS", 100)
    made = movies(250)
    trigger = listen("post_save", action_object=Movie)
    assert statements(lambda: emit_many("post_save", made)) == ["INSERT"] * 3
    assert count(trigger) == 250


def test_nothing_matched_costs_nothing(listen, django_assert_num_queries):
    made = movies(3)
    listen("post_save", action_object=made[0], conditions=[("created", "is true")])
    with django_assert_num_queries(0):
        assert emit_many("post_save", made, created=False) == [None, None, None]
        assert emit_many("post_save", []) == []
        with muted():
            assert emit_many("post_save", made, created=True) == [None, None, None]


def test_each_is_matched_by_itself_and_answered_in_order(listen):
    made = movies(3)
    trigger = listen("post_save", action_object=made[1])
    found = emit_many("post_save", (movie for movie in made), created=True)
    assert (found[0], found[2]) == (None, None)
    assert found[1] == Event.objects.get(trigger=trigger).occurrence


def test_conditions_hold_for_what_is_emitted(listen, count):
    trigger = listen("post_save", action_object=Movie, conditions=[("instance.name", "equals", "1")])
    emit_many("post_save", movies(3), created=True)
    assert count(trigger) == 1


def test_the_async_forms_do_the_same(listen, count, django_user_model):
    ann = django_user_model.objects.create(username="ann")
    made = movies(3)
    trigger = listen("post_save", action_object=Movie, actor_object=ann)

    async def work():
        one = await aemit("post_save", action_object=made[0], actor_object=ann, created=True)
        return [one, *await aemit_many("post_save", made, actor_object=ann, created=True)]

    found = async_to_sync(work)()
    assert None not in found
    assert set(found) == set(Event.objects.filter(trigger=trigger).values_list("occurrence", flat=True))
    assert count(trigger) == 4


def test_a_class_is_the_sender_and_no_instance(listen):
    trigger = listen("post_save", action_object=Movie)
    assert emit("post_save", action_object=Movie) is not None
    event = Event.objects.get(trigger=trigger)
    assert (event.sender, event.action_object, dict(event.signal_kwargs)) == (Movie, Movie, {})


def test_a_relation_without_its_action_is_as_if_it_were_done(listen, count, django_user_model):
    trigger = listen("m2m_changed", action_object=Movie)
    (movie,) = movies(1)
    emit("m2m_changed", action_object=movie, model=django_user_model, pk_set={1})
    emit("m2m_changed", action_object=movie, model=django_user_model, pk_set={1}, action="pre_add")
    assert count(trigger) == 1


@pytest.mark.parametrize("instance", [Country(code="de"), Seat(row="A", number=1), Place(pk=5), Vehicle(pk=5)])
def test_keys_of_every_type(listen, count, instance):
    instance.save()
    trigger = listen("post_save", action_object=instance)
    emit("post_save", action_object=instance)
    assert count(trigger) == 1


def test_rolled_back_is_rolled_back(listen, count):
    trigger = listen("post_save", action_object=Movie)
    with transaction.atomic():
        emit_many("post_save", movies(3))
        transaction.set_rollback(True)
    assert count(trigger) == 0


def test_an_unknown_verb_is_logged_or_with_strict_raised(settings, caplog):
    assert emit_many("post_svae", movies(2)) == [None, None]
    assert "did you mean 'post_save'" in caplog.text
    settings.DSN = {"STRICT": True}
    with pytest.raises(UnknownName):
        emit("post_svae")
