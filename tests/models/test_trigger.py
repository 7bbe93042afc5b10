"""Triggers: defining them, what is refused, and that no two say the same."""

from __future__ import annotations

import json

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import IntegrityError, connections, transaction
from django.dispatch import Signal

from dsn_core.models import Trigger
from dsn_core.plugins.catalogue import catalogue
from tests.testapp.models import Country, Movie, Seat

pytestmark = pytest.mark.django_db


def test_the_same_again_is_the_same_row(django_user_model, django_assert_num_queries):
    movie, ann = Movie.objects.create(name="M"), django_user_model.objects.create(username="ann")
    parts = {"action_object": movie, "actor_object": ann, "target": "home"}
    trigger = Trigger.objects.define("post_save", **parts, enabled=False)
    with django_assert_num_queries(1):
        again = Trigger.objects.define("post_save", **parts, enabled=True)
    assert (again, again.enabled) == (trigger, False)
    assert str(trigger) == f"post_save testapp.movie {movie.pk} by auth.user {ann.pk} to home"


def test_each_part_makes_another_trigger(django_user_model):
    movie, ann = Movie.objects.create(name="M"), django_user_model.objects.create(username="ann")
    variations = [
        {},
        {"action_object": movie},
        {"action_object": Movie},
        {"actor_object": ann},
        {"actor_object": django_user_model},
        {"target": "home"},
        {"target": "Home"},
        {"target": "home "},
    ]
    made = {Trigger.objects.define("request_finished", **parts).pk for parts in variations}
    assert len(made) == len(variations)
    assert Trigger.objects.define("request_finished", target=None).pk in made


@pytest.mark.parametrize(
    ("verb", "parts", "said"),
    [
        ("post_svae", {}, "did you mean 'post_save'"),
        ("", {}, "verb"),
        ("post_save", {}, "must name the model"),
        ("m2m_changed", {}, "must name the model"),
        ("request_finished", {"action_object": "testapp.movie"}, "neither a model nor an instance"),
        ("request_finished", {"actor_object": Movie()}, "not saved yet"),
        ("request_finished", {"target": "x" * 256}, "255"),
        ("post_save", {"action_object": Country(code="x" * 300)}, "255"),
    ],
)
def test_what_cannot_work_is_refused(verb, parts, said):
    with pytest.raises(ValidationError, match=said):
        Trigger.objects.define(verb, **parts)
    assert not Trigger.objects.exists()


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"action_object_model": "testapp.gone"}, "action_object_model"),
        ({"action_object_pk": "1"}, "action_object_model"),
        ({"action_object_model": "testapp.movie", "action_object_pk": "one"}, "action_object_pk"),
        ({"action_object_model": "testapp.movie", "actor_object_pk": "1"}, "actor_object_model"),
    ],
)
def test_a_form_is_told_which_field_is_wrong(fields, wrong):
    with pytest.raises(ValidationError) as refused:
        Trigger(verb="post_save", **{"action_object_model": "", **fields}).full_clean(exclude=["digest"])
    assert wrong in refused.value.message_dict


def test_a_form_brings_labels_and_keys_into_their_form():
    trigger = Trigger(verb="post_save", action_object_model="testapp.Seat", action_object_pk='["A",1]')
    trigger.full_clean()
    trigger.save()
    assert Trigger.objects.define("post_save", action_object=Seat(row="A", number=1)) == trigger
    with pytest.raises(ValidationError, match="An identical trigger"):
        Trigger(verb="post_save", action_object_model="testapp.seat", action_object_pk='["A", "1"]').full_clean()


def test_no_two_triggers_say_the_same_however_they_are_written(tmp_path):
    first = Trigger.objects.define("request_finished")
    other = Trigger.objects.define("request_finished", target="x")
    other.target = ""
    for write in (
        other.save,
        lambda: other.save(update_fields=["target"]),
        lambda: Trigger.objects.create(verb="request_finished"),
        lambda: Trigger.objects.bulk_create([Trigger(verb="request_finished")]),
        lambda: Trigger.objects.bulk_update([other], ["target"]),
        lambda: Trigger.objects.update(target=""),
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            write()
    Trigger.objects.filter(pk=first.pk).update(target="y")
    assert Trigger.objects.define("request_finished", target="y") == first
    Trigger.objects.bulk_update([other], ["target"])
    assert Trigger.objects.define("request_finished") == other
    Trigger.objects.bulk_create([Trigger(verb="request_finished", target=text) for text in ("a", "b")])
    assert Trigger.objects.define("request_finished", target="b") == Trigger.objects.get(target="b")
    found, made = Trigger.objects.update_or_create(target="a", defaults={"target": "c"})
    assert (Trigger.objects.define("request_finished", target="c"), made) == (found, False)
    fixture = tmp_path / "triggers.json"
    rows = [{"model": "dsn_core.trigger", "fields": {"verb": "request_finished", "target": text}} for text in "de"]
    for row in rows:
        row["fields"] |= {"created_at": "2026-01-01T00:00Z", "updated_at": "2026-01-01T00:00Z"}
    fixture.write_text(json.dumps(rows))
    call_command("loaddata", str(fixture), verbosity=0)
    assert Trigger.objects.define("request_finished", target="d") == Trigger.objects.get(target="d")


def test_an_edit_in_bulk_reads_and_writes_one_database(settings):
    class Router:
        def db_for_read(self, model, **hints):
            return "replica"

        def db_for_write(self, model, **hints):
            return "default"

    trigger = Trigger.objects.define("request_finished")
    settings.DATABASE_ROUTERS = [Router()]
    assert "replica" not in connections
    assert Trigger.objects.filter(pk=trigger.pk).update(enabled=False) == 1


def test_the_seeds_spelling_registers_a_signal():
    signal = Signal()
    try:
        Trigger.registered_verb_signal("movie_shown", signal, provides=["movie"])
        trigger = Trigger.objects.define("movie_shown")
        assert trigger.provides == ("movie",)
        assert trigger.registration.signal is signal
    finally:
        catalogue.remove("movie_shown")
    assert (trigger.registration, trigger.provides, trigger.removes) == (None, None, False)


def test_what_a_trigger_knows_of_its_signal():
    trigger = Trigger.objects.define("pre_delete", action_object=Movie)
    assert trigger.removes
    assert trigger.action_object_class is Movie
    assert "instance" in trigger.provides
