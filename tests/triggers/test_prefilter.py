"""The glance rules out what cannot match, and nothing that could."""

from __future__ import annotations

import uuid

import pytest
from django.contrib.auth.models import User
from django.db import models

from dsn_core.conditions.signal_call import SignalCall
from dsn_core.models import Trigger
from dsn_core.plugins.catalogue import catalogue
from dsn_core.triggers import rules
from dsn_core.triggers.dispatch import trigger_cache
from tests.testapp.models import Country, FamousPlace, Movie, Place, Restaurant, Seat, Ticket

pytestmark = pytest.mark.django_db


class Name(models.TextChoices):
    ALIEN = "Alien"


@pytest.fixture(autouse=True)
def worker(settings):
    settings.DSN = {"RUNNER": "worker", "STRICT": True}


def seen(instance, **kwargs):
    """What the prefilter says of a save of ``instance``; it may not rule out what matches."""
    kwargs = {"instance": instance, "created": True, **kwargs}
    registration, index = catalogue.get("post_save"), trigger_cache.matcher()
    could = index.could_match(registration, instance, kwargs)
    matched = index.match(SignalCall(registration, type(instance), kwargs))
    assert could or not matched
    return could, bool(matched)


RULED_OUT, MATCHED, IN_DOUBT = (False, False), (True, True), (True, False)


def test_keys_of_every_type(listen):
    key = uuid.uuid4()
    for instance, other in (
        (Movie(pk=5), Movie(pk=6)),
        (Ticket(pk=key), Ticket(pk=uuid.uuid4())),
        (Country(pk="de"), Country(pk="at")),
    ):
        listen("post_save", action_object=instance)
        assert seen(instance) == MATCHED
        assert seen(other) == RULED_OUT


def test_a_key_that_is_held_in_another_type_is_left_to_the_tables(listen):
    listen("post_save", action_object=Movie(pk=5))
    assert seen(Movie(pk="5")) == MATCHED
    assert seen(Movie(pk="6")) == IN_DOUBT


def test_a_key_of_several_columns_is_left_to_the_tables(listen):
    listen("post_save", action_object=Seat(row="A", number=1))
    assert seen(Seat(row="A", number=1)) == MATCHED
    assert seen(Seat(row="A", number=2)) == IN_DOUBT


def test_columns_with_a_value(listen):
    listen("post_save", action_object=Movie, conditions=[("instance.name", "equals", "Alien")])
    assert seen(Movie(pk=1, name="Alien")) == MATCHED
    assert seen(Movie(pk=1, name="Heat")) == RULED_OUT
    assert seen(Movie(pk=1, name=Name.ALIEN)) == MATCHED


def test_a_column_that_is_not_loaded_is_left_to_the_tables(listen):
    listen("post_save", action_object=Movie, conditions=[("instance.name", "equals", "Alien")])
    Movie.objects.create(name="Alien")
    assert seen(Movie.objects.defer("name").get()) == MATCHED


def test_targets(listen):
    listen("post_save", action_object=Movie, target="screen 1")
    assert seen(Movie(pk=1)) == RULED_OUT
    assert seen(Movie(pk=1), target="screen 1") == MATCHED
    assert seen(Movie(pk=1), target="screen 2") == IN_DOUBT


def test_what_shows_nothing_is_left_to_the_tables(listen):
    listen("post_save", action_object=Movie, actor_object=User(pk=3))
    assert seen(Movie(pk=1)) == IN_DOUBT
    listen("post_save", action_object=Movie, conditions=[("instance.name", "starts with", "A")])
    assert seen(Movie(pk=1, name="Alien")) == MATCHED


def test_proxies_and_children_count_as_their_parents(listen):
    listen("post_save", action_object=Place(pk=7))
    assert seen(FamousPlace(pk=7)) == MATCHED
    assert seen(FamousPlace(pk=8)) == RULED_OUT
    assert seen(Restaurant(pk=7)) == MATCHED


def test_a_trigger_that_comes_later_is_seen_and_one_that_goes_is_not(listen):
    listen("post_save", action_object=Movie(pk=5))
    assert seen(Movie(pk=6)) == RULED_OUT
    trigger = listen("post_save", action_object=Movie(pk=6))
    assert seen(Movie(pk=6)) == MATCHED
    trigger.delete()
    assert seen(Movie(pk=6)) == RULED_OUT


def test_it_follows_edits_without_being_made_again(listen, monkeypatch):
    looked_at, sign_of = [], rules._sign_of
    monkeypatch.setattr(rules, "_sign_of", lambda rule, tests: looked_at.append(rule) or sign_of(rule, tests))

    def known():
        """Whether only the one trigger was looked at that was edited last, and maybe again after its commit."""
        last = {rule.trigger_id for rule in looked_at}
        looked_at.clear()
        return len(last) <= 1

    first = listen("post_save", action_object=Movie(pk=5))
    assert (seen(Movie(pk=5)), seen(Movie(pk=6))) == (MATCHED, RULED_OUT)
    assert known()
    listen("post_save", action_object=Movie(pk=6))
    assert known()
    assert (seen(Movie(pk=5)), seen(Movie(pk=6))) == (MATCHED, MATCHED)
    for enabled, expected in ((False, RULED_OUT), (True, MATCHED)):
        first.enabled = enabled
        first.save()
        assert known()
        assert seen(Movie(pk=5)) == expected
    for general in (
        listen("post_save", action_object=Movie),
        listen("post_save", action_object=Movie, conditions=[("instance.name", "equals", "")]),
    ):
        assert seen(Movie(pk=7)) == MATCHED
        general.delete()
    looked_at.clear()
    aimed = listen("post_save", action_object=Movie, target="here")
    assert (seen(Movie(pk=7)), seen(Movie(pk=7), target="here")) == (RULED_OUT, MATCHED)
    aimed.delete()
    assert known()
    assert (seen(Movie(pk=7)), seen(Movie(pk=7), target="here")) == (RULED_OUT, RULED_OUT)
    assert seen(Movie(pk=6)) == MATCHED


def test_a_field_that_raises_is_left_to_the_tables(listen, monkeypatch):
    listen("post_save", action_object=Movie(pk=5))
    assert seen(Movie(pk=7)) == RULED_OUT
    given = Movie._meta.pk.to_python

    def broken(value):
        return given(value) if isinstance(value, int) else 1 / 0

    monkeypatch.setattr(Movie._meta.pk, "to_python", broken)
    Trigger.objects.filter(action_object_pk="5").update(action_object_pk="6")
    assert (seen(Movie(pk=6)), seen(Movie(pk=7))) == (MATCHED, IN_DOUBT)
