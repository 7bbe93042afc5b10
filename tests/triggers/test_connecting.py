"""Which senders are listened to, and that nobody else pays."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.models import signals
from django.test.utils import CaptureQueriesContext

from dsn_core import register_signal
from dsn_core.conditions.signal_call import SignalCall
from dsn_core.contracts.registrations import BuiltInSignal
from dsn_core.models import Event, Subscription, Trigger
from dsn_core.plugins.catalogue import catalogue
from dsn_core.triggers.dispatch import trigger_cache
from tests.testapp.models import Country, FamousPlace, Movie, Place, Restaurant, Ticket

pytestmark = pytest.mark.django_db


def hears(signal, sender):
    return signal.has_listeners(sender)


def test_only_senders_that_triggers_name_are_listened_to(listen):
    assert not hears(signals.post_save, Place)
    listen("post_save", action_object=Place)
    assert all(hears(signals.post_save, model) for model in (Place, Restaurant, FamousPlace))
    assert not hears(signals.post_save, Country)
    assert not hears(signals.pre_save, Place)
    assert not hears(signals.post_delete, Place)


def test_making_instances_stays_free_of_receivers(listen):
    listen("post_save", action_object=Movie)
    assert not hears(signals.pre_init, Movie)
    assert not hears(signals.post_init, Movie)


def test_deleting_a_child_is_listened_to_only_where_django_speaks_of_the_parent(listen):
    listen("post_delete", action_object=Place)
    assert hears(signals.post_delete, Place)
    assert not hears(signals.post_delete, Restaurant)


def test_pre_save_listens_to_both_of_its_signals_and_leaves_both(listen):
    trigger = listen("pre_save", action_object=Country)
    assert hears(signals.pre_save, Country)
    assert hears(signals.post_save, Country)
    trigger.delete()
    assert not hears(signals.pre_save, Country)
    assert not hears(signals.post_save, Country)


def test_a_trigger_without_an_enabled_subscription_is_not_listened_to():
    trigger = Trigger.objects.define("post_save", action_object=Country)
    assert not hears(signals.post_save, Country)
    subscription = trigger.subscribe()
    assert hears(signals.post_save, Country)
    subscription.enabled = False
    subscription.save()
    assert not hears(signals.post_save, Country)


@pytest.mark.parametrize(
    "take_away",
    [
        lambda trigger: trigger.delete(),
        lambda trigger: Trigger.objects.filter(pk=trigger.pk).delete(),
        lambda trigger: Trigger.objects.filter(pk=trigger.pk).update(enabled=False),
        lambda trigger: Trigger.objects.bulk_update([_disabled(trigger)], ["enabled"]),
        lambda trigger: _disabled(trigger).save(),
        lambda trigger: _disabled(trigger).save(update_fields=["enabled"]),
        lambda trigger: trigger.subscriptions.all().delete(),
        lambda trigger: trigger.subscriptions.update(enabled=False),
        lambda trigger: trigger.subscriptions.get().delete(),
        lambda trigger: Subscription.objects.bulk_update([_disabled(trigger.subscriptions.get())], ["enabled"]),
    ],
)
def test_what_is_disabled_or_deleted_is_no_longer_listened_to(listen, count, take_away):
    trigger = listen("post_save", action_object=Country)
    other = listen("post_save", action_object=Movie)
    key = trigger.pk
    take_away(trigger)
    assert not hears(signals.post_save, Country)
    Country.objects.create(code="de")
    Movie.objects.create(name="M")
    assert not Event.objects.filter(trigger_id=key).exists()
    assert count(other) == 1


def _disabled(row):
    row.enabled = False
    return row


def test_what_is_made_in_bulk_is_listened_to(count):
    one, two = Trigger.objects.bulk_create(
        [Trigger(verb="post_save", action_object_model=label) for label in ("testapp.movie", "testapp.place")]
    )
    one, two = (Trigger.objects.get(action_object_model=row.action_object_model) for row in (one, two))
    Subscription.objects.bulk_create([Subscription(trigger=one), Subscription(trigger=two)])
    Movie.objects.create(name="M")
    assert (count(one), count(two)) == (1, 0)


def test_models_that_no_trigger_names_pay_no_query(listen, django_assert_num_queries):
    listen("post_save", action_object=Movie)
    listen("post_delete", action_object=Movie)
    Country.objects.bulk_create([Country(code=f"{number:02}") for number in range(10)])
    with django_assert_num_queries(1):
        Country.objects.create(code="xx")
    with django_assert_num_queries(1):
        assert Country.objects.all().delete()[0] == 11


def test_an_instance_that_matches_no_trigger_pays_no_query(listen, django_assert_num_queries):
    movie, other = Movie.objects.create(name="M"), Movie.objects.create(name="O")
    listen("post_save", action_object=movie)
    with django_assert_num_queries(1):
        other.save(force_update=True)


def test_several_triggers_of_one_signal_are_one_insert(listen, django_assert_num_queries):
    movie = Movie.objects.create(name="M")
    triggers = [listen("post_save", action_object=subject) for subject in (Movie, movie)]
    # The update; a savepoint, the insert, its release.
    with CaptureQueriesContext(connection) as captured:
        movie.save(force_update=True)
    inserts = [query for query in captured.captured_queries if "INSERT INTO" in query["sql"]]
    assert len(inserts) == 1
    assert len(captured) <= 4
    events = list(Event.objects.all())
    assert {event.trigger_id for event in events} == {trigger.pk for trigger in triggers}
    assert len({event.occurrence for event in events}) == 1


def test_a_signal_registered_after_its_trigger_was_read_is_connected(listen, count, released):
    trigger = listen("released")
    registration = catalogue.get("released")
    catalogue.remove("released")
    released.send(sender=None)
    assert count(trigger) == 0
    catalogue.add(registration)
    released.send(sender=None)
    assert count(trigger) == 1
    # Registered again with other parts: connected once still.
    register_signal("released", released, action_object="movie")
    released.send(sender=None, movie=Movie(pk=1))
    assert count(trigger) == 2


def test_a_plugins_registration_that_leads_nowhere_breaks_nobody(listen, count, caplog):
    name = "never_confirmed"
    catalogue.add(BuiltInSignal(name, signals.pre_save, senders="models", recorded_by="nothing_such"))
    try:
        trigger, other = listen(name, action_object=Movie), listen("post_save", action_object=Movie)
        Movie.objects.create(name="M")
        assert (count(trigger), count(other)) == (0, 1)
        assert "nothing_such" in caplog.text
    finally:
        catalogue.remove(name)


def test_a_delete_of_many_rows_costs_each_its_own_event_and_no_query_more(listen, count):
    trigger = listen("post_delete", action_object=Country)
    Country.objects.bulk_create([Country(code=f"{number:02}") for number in range(10)])
    with CaptureQueriesContext(connection) as captured:
        Country.objects.all().delete()
    selects = [query for query in captured.captured_queries if query["sql"].startswith("SELECT")]
    assert (len(selects), count(trigger)) == (1, 10)
    assert Event.objects.last().signal_kwargs["origin"] is Country


def test_one_more_trigger_costs_the_same_queries_when_a_thousand_exist():
    def cost(number):
        with CaptureQueriesContext(connection) as captured:
            Trigger.objects.define("post_save", action_object=Movie, target=str(number)).subscribe()
        return len(captured)

    first = cost(0)
    Trigger.objects.bulk_create(
        [Trigger(verb="post_save", action_object_model="testapp.movie", target=f"t{number}") for number in range(1_000)]
    )
    Subscription.objects.bulk_create(
        [Subscription(trigger=trigger) for trigger in Trigger.objects.filter(target__startswith="t")]
    )
    assert cost(1) <= first
    with CaptureQueriesContext(connection) as captured:
        Trigger.objects.define("post_save", action_object=Movie, target="counted")
    assert len(captured) <= 10, [query["sql"][:60] for query in captured.captured_queries]
    index = trigger_cache.matcher()
    assert index is not None
    assert len(index) == 1_002


def test_a_thousand_triggers_of_one_model_are_looked_up_not_scanned(monkeypatch):
    movies = Movie.objects.bulk_create([Movie(name=str(number)) for number in range(1_000)])
    movies = list(Movie.objects.order_by("pk")[: len(movies)])
    Trigger.objects.bulk_create(
        [Trigger(verb="post_save", action_object_model="testapp.movie", action_object_pk=str(m.pk)) for m in movies]
    )
    Subscription.objects.bulk_create([Subscription(trigger=trigger) for trigger in Trigger.objects.all()])
    index = trigger_cache.matcher()
    assert index is not None
    registration = catalogue.get("post_save")
    looked_at = []
    for table in index._lookups.values():
        table.rules = Counting(table.rules, looked_at)
    assert index.match(SignalCall(registration, Movie, {"instance": Movie(pk=-1), "created": True})) == []
    assert len(looked_at) == 2
    (entry,) = index.match(SignalCall(registration, Movie, {"instance": movies[5]}))
    assert entry.action_pk == str(movies[5].pk)
    assert len(looked_at) == 4


class Counting(dict):
    """A dictionary that notes which keys it is asked for, and that must not be searched."""

    def __init__(self, held, asked):
        super().__init__(held)
        self.asked = asked

    def get(self, key, default=None):
        self.asked.append(key)
        return super().get(key, default)

    def __iter__(self):
        raise AssertionError("The rules were searched.")

    values = items = keys = __iter__


def test_tickets_of_a_deleted_movie_are_found_by_their_cascade(listen, count):
    trigger = listen("post_delete", action_object=Ticket)
    movie = Movie.objects.create(name="M")
    Ticket.objects.create(movie=movie)
    Ticket.objects.create(movie=movie)
    movie.delete()
    assert count(trigger) == 2
