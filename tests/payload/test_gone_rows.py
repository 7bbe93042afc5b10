"""What a snapshot cannot reach any more: its text, its relations, in both engines alike."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import models

from dsn_core import BaseMessageTemplate, payload
from dsn_core.contracts.activities import Activity
from dsn_core.models import Delivery, Trigger
from dsn_core.payload import snapshots
from tests.testapp.models import Movie, Ticket

pytestmark = pytest.mark.django_db
ENGINES = ("jinja2", "django")


@pytest.fixture
def ticket(monkeypatch: pytest.MonkeyPatch) -> Ticket:
    """One whose text speaks of its movie."""
    monkeypatch.setattr(Ticket, "__str__", lambda self: f"Ticket for {self.movie}")
    return Ticket.objects.create(movie=Movie.objects.create(name="Brazil"), price=3)


def read_back(verb: str = "v", **arguments: Any) -> Any:
    return payload.load(verb, payload.dump(Activity(verb, signal_kwargs=arguments))).signal_kwargs


def render(engine: str, source: str, **arguments: Any) -> str:
    cls = type("Sample", (BaseMessageTemplate,), {"engine": engine, "text": source})
    return cls().render(None, {}, arguments).text


@pytest.mark.parametrize("verb", ["post_delete", "pre_delete"])
def test_after_a_cascade_simple_says_what_the_text_was(verb: str, ticket: Ticket, dsn: Any, settings: Any) -> None:
    settings.DSN = {"RUNNER": "worker"}
    ann = User.objects.create(username="ann", email="ann@example.org")
    Trigger.objects.define(verb, action_object=Ticket).subscribe(users=[ann], backends=[("memory", "simple")])
    Movie.objects.all().delete()
    dsn.run()
    assert [message.subject for message in dsn.sent] == [f"{verb}: Ticket for Brazil"]
    assert Delivery.objects.get().status == "sent"


def test_a_text_of_before_that_reaches_for_a_row_that_is_gone_is_model_and_key(ticket: Ticket) -> None:
    found = read_back(it=ticket)["it"]
    assert str(found) == "Ticket for Brazil"
    found = read_back(it=Ticket.objects.get())["it"]
    Movie.objects.all().delete()
    said = f"ticket {ticket.pk}"
    assert str(found) == f"{found}" == said
    assert repr(found) == f"<Ticket: {said}>"
    for engine in ENGINES:
        assert render(engine, "{{ it }} {{ it|upper }}", it=found) == f"{said} {said.upper()}"
    for again in (copy.copy(found), copy.deepcopy(found), pickle.loads(pickle.dumps(found))):  # noqa: S301
        assert str(again) == said
        assert again.__class__ is Ticket
        assert again == found


def test_what_a_text_raises_otherwise_is_still_an_error(ticket: Ticket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ticket, "__str__", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        str(read_back("post_delete", instance=ticket)["instance"])


def test_a_text_that_asks_wrongly_costs_the_caller_and_the_event_nothing(
    ticket: Ticket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ticket, "__str__", lambda self: list(Movie.objects.raw("SELECT nonsense FROM nowhere")))
    found = read_back("post_delete", instance=ticket)["instance"]
    assert found.pk == ticket.pk
    assert Movie.objects.count() == 1


def test_a_text_that_shows_a_secret_is_not_kept(ticket: Ticket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(User, "__str__", lambda self: f"{self.username} {self.password}")
    user = User.objects.create(username="ann", password="canary")
    text = payload.dump(Activity("post_delete", signal_kwargs={"instance": user}))
    assert "canary" not in text
    assert user.password == "canary"
    monkeypatch.setattr(User, "__str__", lambda self: self.username)
    assert '"text":"ann"' in payload.dump(Activity("post_delete", signal_kwargs={"instance": user}))


def test_only_a_delete_keeps_the_text_and_only_a_short_one(ticket: Ticket, monkeypatch: pytest.MonkeyPatch) -> None:
    assert '"text"' not in payload.dump(Activity("post_save", signal_kwargs={"instance": ticket}))
    monkeypatch.setattr(Ticket, "__str__", lambda self: "x" * (snapshots.MAX_TEXT + 1))
    assert '"text"' not in payload.dump(Activity("post_delete", signal_kwargs={"instance": ticket}))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "source",
    [
        "[{{ it.movie }}]",
        "[{{ it.movie.name }}]",
        "[{% if it.movie %}yes{% endif %}]",
        "[{% for x in it.movie %}x{% endfor %}]",
        "[{{ it.author_of_nothing }}]",
    ],
)
def test_a_relation_to_a_row_that_is_gone_is_undefined(engine: str, source: str, ticket: Ticket) -> None:
    found = read_back(it=Ticket.objects.get())["it"]
    Movie.objects.all().delete()
    assert render(engine, source, it=found) == "[]"


def test_undefined_is_what_jinja2_calls_it(ticket: Ticket) -> None:
    found = read_back(it=Ticket.objects.get())["it"]
    Movie.objects.all().delete()
    source = "{{ it.movie is defined }} {{ it.movie|default('gone') }} {{ it['movie']|default('gone') }}"
    assert render("jinja2", source, it=found) == "False gone gone"
    assert render("jinja2", "{{ [it]|map(attribute='movie.name')|join }}", it=found) == ""


def test_a_field_that_was_not_loaded_of_a_row_that_is_gone_is_undefined(ticket: Ticket) -> None:
    found = read_back(it=Ticket.objects.only("pk").get())["it"]
    Movie.objects.all().delete()
    for engine in ENGINES:
        assert render(engine, "[{{ it.price }}]", it=found) == "[]"


def test_a_rebuilt_instance_is_one_of_its_model(ticket: Ticket) -> None:
    found = read_back(it=ticket)["it"]
    assert isinstance(found, Ticket)
    assert isinstance(found, models.Model)
    assert found.__class__ is Ticket
    assert found == ticket
    assert hash(found) == hash(ticket)
    assert {found} == {ticket}
    assert found._meta is Ticket._meta
    assert list(Ticket.objects.filter(pk=found.pk, movie=found.movie)) == [ticket]
    assert found.movie.tickets.get() == found
    other = Ticket(movie=found.movie)
    other.save()
    assert found.get_deferred_fields() == set()
    found.refresh_from_db()
    from django.apps import apps

    assert type(found) not in apps.get_models(include_auto_created=True)
