"""Which triggers a sent signal matches: what the table (test_table.py) does not say."""

from __future__ import annotations

import uuid
from decimal import Decimal

import pytest
from django.apps import apps
from django.core import serializers
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction

from dsn_core import emit
from dsn_core.models import Backend, Delivery, Event, Subscription, Trigger
from tests.testapp.models import Country, FamousPlace, Movie, Place, Restaurant, Ticket


def test_the_sender_is_the_action_object_when_there_is_no_instance(db, listen, released, count):
    about_movies, about_places = listen("released", action_object=Movie), listen("released", action_object=Place)
    released.send(sender=Movie)
    released.send(sender="a text")
    assert (count(about_movies), count(about_places)) == (1, 0)


@pytest.mark.parametrize("form", [str, lambda key: key.hex, lambda key: key])
def test_a_key_matches_in_every_form_in_which_an_instance_can_hold_it(db, listen, count, form):
    key = uuid.uuid4()
    movie = Movie.objects.create(name="M")
    ticket = Ticket.objects.create(id=key, movie=movie)
    trigger = listen("post_save", action_object=ticket)
    Ticket(id=form(key), movie=movie).save(force_update=True)
    by_text = listen("post_save", action_object=movie)
    Movie(pk=str(movie.pk), name="M").save()
    assert (count(trigger), count(by_text)) == (1, 1)


def test_keys_of_one_text_but_of_two_models_are_not_mixed_up(db, listen, count):
    movie = Movie.objects.create(pk=7, name="M")
    country = Country.objects.create(code="7")
    trigger = listen("post_save", action_object=movie)
    country.save()
    assert count(trigger) == 0


def test_saving_a_child_counts_as_its_parent_and_a_proxy_as_its_model(db, listen, count):
    triggers = [listen("post_save", action_object=model) for model in (Place, Restaurant, FamousPlace)]
    Place.objects.create(name="plain")
    assert [count(trigger) for trigger in triggers] == [1, 0, 0]
    Restaurant.objects.create(name="child")
    assert [count(trigger) for trigger in triggers] == [2, 1, 0]
    FamousPlace.objects.create(name="proxy")
    assert [count(trigger) for trigger in triggers] == [3, 1, 1]


def test_a_trigger_on_one_parent_matches_the_child_of_that_key(db, listen, count):
    restaurant = Restaurant.objects.create(name="child")
    trigger = listen("post_save", action_object=restaurant.place_ptr)
    restaurant.save()
    Restaurant.objects.create(name="another")
    assert count(trigger) == 1


@pytest.mark.parametrize("verb", ["pre_delete", "post_delete"])
def test_deleting_a_child_is_recorded_once_for_its_parent(db, listen, count, verb):
    triggers = [listen(verb, action_object=model) for model in (Place, Restaurant, FamousPlace)]
    Restaurant.objects.create(name="child").delete()
    assert [count(trigger) for trigger in triggers] == [1, 1, 0]
    FamousPlace.objects.create(name="proxy").delete()
    assert [count(trigger) for trigger in triggers] == [2, 1, 1]
    Restaurant.objects.create(name="kept").delete(keep_parents=True)
    assert [count(trigger) for trigger in triggers] == [2, 2, 1]


def test_a_relation_is_about_both_of_its_sides(db, listen, count, django_user_model):
    ann, bob = (django_user_model.objects.create(username=name) for name in ("ann", "bob"))
    movie, other = Movie.objects.create(name="M"), Movie.objects.create(name="O")
    subjects = (Movie, movie, other, django_user_model, ann, bob)
    triggers = [listen("m2m_changed", action_object=subject) for subject in subjects]

    def recorded():
        counts = [count(trigger) for trigger in triggers]
        Event.objects.all().delete()
        return counts

    movie.audiences.add(ann)
    assert recorded() == [1, 1, 0, 1, 1, 0]
    bob.movie_set.add(movie, other)
    assert recorded() == [1, 1, 1, 1, 0, 1]
    movie.audiences.remove(bob)
    assert recorded() == [1, 1, 0, 1, 0, 1]
    # Django does not say which ones a clear() removed.
    movie.audiences.clear()
    assert recorded() == [1, 1, 0, 1, 0, 0]
    bob.movie_set.clear()
    assert recorded() == [1, 0, 0, 1, 0, 1]


def test_our_own_relations_to_a_model_are_nobody_elses(db, listen, count, django_user_model):
    trigger = listen("m2m_changed", action_object=django_user_model)
    trigger.subscribe(users=[django_user_model.objects.create(username="ann")])
    assert count(trigger) == 0


def test_pre_save_is_recorded_when_the_instance_is_saved(db, listen, count):
    trigger = listen("pre_save", action_object=Ticket)
    movie = Movie.objects.create(name="M")
    ticket = Ticket(movie=movie, price=Decimal("1.50"))
    ticket.movie_id = None
    with pytest.raises(IntegrityError), transaction.atomic():
        ticket.save()
    assert count(trigger) == 0
    ticket.movie = movie
    ticket.save()
    (event,) = Event.objects.filter(trigger=trigger)
    assert (event.action_object.pk, event.action_object.price) == (ticket.pk, Decimal("1.50"))
    assert set(event.signal_kwargs) == {"instance", "raw", "using", "update_fields"}


def test_a_save_that_failed_is_not_recorded_by_a_later_fixture(db, listen, count):
    trigger = listen("pre_save", action_object=Ticket)
    ticket = Ticket()
    with pytest.raises(IntegrityError), transaction.atomic():
        ticket.save()
    ticket.movie = Movie.objects.create(name="M")
    ticket.save_base(raw=True)
    assert count(trigger) == 0


def test_pre_save_of_one_instance_matches_the_key_it_has(db, listen, count):
    movie = Movie.objects.create(name="M")
    trigger = listen("pre_save", action_object=movie)
    movie.save()
    Movie.objects.create(name="other")
    assert count(trigger) == 1


def test_fixtures_are_no_news(db, listen, count, tmp_path):
    triggers = [listen(verb, action_object=Movie) for verb in ("pre_save", "post_save")]
    fixture = tmp_path / "movies.json"
    fixture.write_text(serializers.serialize("json", [Movie(pk=77, name="M")]))
    call_command("loaddata", str(fixture), verbosity=0)
    assert Movie.objects.filter(pk=77).exists()
    assert [count(trigger) for trigger in triggers] == [0, 0]


def test_raw_is_an_argument_like_any_other_of_a_projects_signal(db, listen, count, released):
    trigger = listen("released")
    released.send(sender=None, raw=True, using="nonsense")
    assert count(trigger) == 1


def test_the_models_of_migrations_are_not_the_projects(db, listen, count):
    class_prepared, post_save = listen("class_prepared"), listen("post_save", action_object=Movie)
    from django.db.migrations.executor import MigrationExecutor

    state = MigrationExecutor(connection).loader.project_state(("testapp", "0001_initial"))
    historical = state.apps.get_model("testapp", "Movie")
    historical.objects.create(name="M")
    assert (count(class_prepared), count(post_save)) == (0, 0)


@pytest.mark.parametrize("model", [Trigger, Subscription, Backend, Event, Delivery])
def test_our_own_models_are_refused_as_action_objects_of_model_signals(db, model):
    with pytest.raises(Exception, match="own rows trigger nothing"):
        Trigger.objects.define("post_save", action_object=model)


def test_a_row_that_passed_by_the_checks_matches_nothing_it_should_not(db, listen, count):
    own = Trigger.objects.create(verb="post_save", action_object_model="dsn_core.event")
    anything = Trigger.objects.create(verb="post_save")
    for trigger in (own, anything):
        trigger.subscribe()
    listen("post_save", action_object=Movie)
    Movie.objects.create(name="M")
    assert (count(own), count(anything)) == (0, 0)


def test_reading_an_event_back_is_no_post_init(db, listen, count):
    movie = Movie.objects.create(name="M")
    listen("post_save", action_object=Movie)
    movie.save()
    initialised, announced = listen("post_init", action_object=Movie), listen("pre_init", action_object=Movie)
    assert Event.objects.get().action_object == movie
    assert (count(initialised), count(announced)) == (0, 0)
    Movie.objects.get(pk=movie.pk)
    assert (count(initialised), count(announced)) == (1, 1)


def test_emit_matches_as_the_signal_would(db, listen, count):
    movie = Movie.objects.create(name="M")
    of_model, of_instance = listen("post_save", action_object=Movie), listen("post_save", action_object=movie)
    assert emit("post_save", action_object=movie, created=True) is not None
    assert emit("post_save", action_object=Movie) is not None
    assert emit("post_save", action_object=Place(name="unsaved")) is None
    assert (count(of_model), count(of_instance)) == (2, 1)
    assert Event.objects.filter(trigger=of_instance).get().signal_kwargs["created"] is True


def test_emit_speaks_of_the_parts_by_the_names_of_the_signals_own_arguments(db, listen, released, django_user_model):
    ann = django_user_model.objects.create(username="ann")
    trigger = listen("released", actor_object=ann, target="home")
    emit("released", actor_object=ann, target="home")
    event = Event.objects.get(trigger=trigger)
    assert (event.actor_object, event.target, event.signal_kwargs["who"]) == (ann, "home", ann)


def test_emit_of_an_unknown_verb_or_database_harms_nobody(db, listen, count, caplog, released):
    assert emit("relaesed") is None
    assert "did you mean 'released'" in caplog.text
    trigger = listen("released")
    assert emit("released", using="nowhere") is not None
    assert count(trigger) == 1


def test_every_model_of_the_project_can_be_named(db):
    for model in apps.get_models():
        if model._meta.app_label != "dsn_core":
            assert Trigger.objects.define("post_save", action_object=model).action_object_class is model
