"""Which triggers a sent signal matches, against what the words say, and each of Django's signals for real."""

from __future__ import annotations

import itertools
import uuid
from decimal import Decimal

import pytest
from asgiref.sync import async_to_sync
from django.apps import apps
from django.contrib.auth import authenticate, get_user_model, login, logout
from django.contrib.auth.models import AnonymousUser
from django.core import serializers
from django.core.management import call_command
from django.db import IntegrityError, connection, models, transaction
from django.http import HttpResponse
from django.template import Context, Template
from django.test.utils import isolate_apps
from django.urls import path

from dsn_core import emit
from dsn_core.builtin.django_signals import registrations
from dsn_core.models import Backend, Delivery, Event, Subscription, Trigger
from tests.testapp.models import Country, FamousPlace, Movie, Place, Restaurant, Seat, Ticket


def fail(request):
    raise ZeroDivisionError("on purpose")


urlpatterns = [path("fail/", fail), path("ok/", lambda request: HttpResponse("ok"))]


def matches(wanted, sent):
    """What the words say: a class means its instances and those of its children, an instance just itself."""
    if wanted is None:
        return True
    if isinstance(sent, type):
        return isinstance(wanted, type) and issubclass(sent, wanted)
    if isinstance(wanted, type):
        return isinstance(sent, wanted)
    return isinstance(sent, type(wanted)) and sent.pk == wanted.pk


@pytest.fixture
def subjects(db):
    movie = Movie.objects.create(name="Metropolis")
    place = Place.objects.create(name="here")
    return [
        None,
        Movie,
        movie,
        Movie.objects.create(name="M"),
        place,
        Place,
        Restaurant,
        Restaurant.objects.create(name="there"),
        FamousPlace,
        FamousPlace.objects.get(pk=place.pk),
        Ticket.objects.create(movie=movie),
        Country.objects.create(code="1"),
        Seat.objects.create(row="A", number=1),
        Seat.objects.create(row="A", number=2),
    ]


@pytest.mark.parametrize("method", ["send", "send_robust", "asend", "asend_robust"])
def test_the_whole_table_of_action_object_actor_and_target(subjects, listen, released, method):
    actors = [None, Movie, *subjects[2:4], get_user_model().objects.create(username="ann"), get_user_model()]
    cases = [*itertools.product(subjects, actors[:1], [""]), *itertools.product(subjects[:4], actors, ["", "home"])]
    triggers = {listen("released", action_object=a, actor_object=b, target=c): (a, b, c) for a, b, c in cases}
    fire = getattr(released, method)
    fire = async_to_sync(fire) if method.startswith("a") else fire
    checked = 0
    for action, actor, target in itertools.product(subjects, [None, *actors[2:5]], [None, "home", "abroad"]):
        Event.objects.all().delete()
        fire(sender=None, instance=action, who=actor, where=target)
        expected = {
            trigger.pk
            for trigger, (a, b, c) in triggers.items()
            if matches(a, action) and matches(b, actor) and c in ("", target)
        }
        found = list(Event.objects.values_list("trigger_id", flat=True))
        assert sorted(found) == sorted(expected), (action, actor, target)
        checked += len(triggers)
    assert checked > 5_000


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


# Django's own signals, each fired for real.


def _reconnect():
    connection.close()
    connection.ensure_connection()


@isolate_apps("tests.testapp")
def _make_a_model():
    type("Late", (models.Model,), {"__module__": __name__, "Meta": type("Meta", (), {"app_label": "testapp"})})


def _movie():
    movie, _ = Movie.objects.get_or_create(name="M")
    return movie


def _log_out(client):
    client.force_login(get_user_model().objects.get(username="ann"))
    client.logout()


FIRED = {
    "pre_init": (Movie, lambda client: Movie(name="M")),
    "post_init": (Movie, lambda client: Movie(name="M")),
    "pre_save": (Movie, lambda client: Movie.objects.create(name="M")),
    "post_save": (Movie, lambda client: Movie.objects.create(name="M")),
    "pre_delete": (Movie, lambda client: Movie.objects.create(name="M").delete()),
    "post_delete": (Movie, lambda client: Movie.objects.create(name="M").delete()),
    "m2m_changed": (Movie, lambda client: _movie().audiences.add(get_user_model().objects.get(username="ann"))),
    "class_prepared": (None, lambda client: _make_a_model()),
    "pre_migrate": (None, lambda client: call_command("migrate", "testapp", verbosity=0)),
    "post_migrate": (None, lambda client: call_command("migrate", "testapp", verbosity=0)),
    "request_started": (None, lambda client: client.get("/ok/", headers={"authorization": "Basic c2VjcmV0"})),
    "request_finished": (None, lambda client: client.get("/ok/")),
    "got_request_exception": (None, lambda client: client.get("/fail/")),
    "setting_changed": (None, None),
    "template_rendered": (None, lambda client: Template("hello").render(Context())),
    "connection_created": (None, lambda client: _reconnect()),
    "user_logged_in": (None, lambda client: client.force_login(get_user_model().objects.get(username="ann"))),
    "user_logged_out": (None, _log_out),
    "user_login_failed": (None, lambda client: authenticate(username="ann", password="wrong")),
}


def test_every_signal_of_django_is_in_the_table():
    assert set(FIRED) == {registration.name for registration in registrations()}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("verb", FIRED)
def test_each_of_djangos_signals_is_a_verb(verb, listen, count, settings, client):
    settings.ROOT_URLCONF = __name__
    settings.DSN = {"RUNNER": "worker"}
    client.raise_request_exception = False
    ann = get_user_model().objects.create_user("ann", password="right")
    model, fire = FIRED[verb]
    trigger = listen(verb, action_object=model)
    if fire is None:
        settings.TIME_ZONE = "Europe/Berlin"
    else:
        fire(client)
    assert count(trigger) >= 1
    for event in Event.objects.filter(trigger=trigger):
        assert "c2VjcmV0" not in event.payload
        assert "sessionid" not in event.payload
        assert event.signal_kwargs is not None
        if verb in ("user_logged_in", "user_logged_out"):
            assert event.actor_object == ann


@pytest.mark.django_db
def test_a_request_is_told_by_its_method_path_user_and_address(listen, rf, client):
    trigger = listen("user_logged_in")
    request = rf.post("/login/", {"password": "secret"}, headers={"cookie": "sessionid=stolen"})
    request.session, request.user = client.session, AnonymousUser()
    ann = get_user_model().objects.create_user("ann")
    login(request, ann, backend="django.contrib.auth.backends.ModelBackend")
    event = Event.objects.get(trigger=trigger)
    expected = {"method": "POST", "path": "/login/", "user": "ann", "address": "127.0.0.1"}
    assert event.signal_kwargs["request"] == expected
    assert "stolen" not in event.payload
    assert "secret" not in event.payload
    logout(request)


def test_every_model_of_the_project_can_be_named(db):
    for model in apps.get_models():
        if model._meta.app_label != "dsn_core":
            assert Trigger.objects.define("post_save", action_object=model).action_object_class is model
