"""What a signal said comes back from an event's row: through the intake's INSERT, on every database."""

from __future__ import annotations

import datetime
import decimal
import math
import uuid

import pytest
from django.contrib.auth import get_user_model
from django.dispatch import Signal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dsn_core import emit, register_signal
from dsn_core.models import Event, Trigger
from dsn_core.payload import Placeholder
from dsn_core.plugins.catalogue import catalogue
from tests.payload.test_round_trips import is_plain, texts, values
from tests.testapp.models import Country, FamousPlace, Movie, Place, Restaurant, Seat, TestModel1, Ticket

pytestmark = pytest.mark.django_db

#: One transaction holds all examples; each reads its own row.
thorough = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))

keys = st.integers(1, 2**31 - 1)
instances = st.one_of(
    st.builds(TestModel1, pk=keys, name=texts, extra_field=texts),
    st.builds(Movie, pk=keys | st.none(), name=texts),
    st.builds(Place, pk=keys, name=texts),
    st.builds(FamousPlace, pk=keys, name=texts),
    st.builds(Restaurant, pk=keys, name=texts, stars=st.integers(0, 5)),
    st.builds(Ticket, id=st.uuids(), movie_id=keys, price=st.decimals(0, 9_999, places=2)),
    st.builds(Country, code=texts),
    st.builds(Seat, row=texts, number=keys),
)


@pytest.fixture(autouse=True)
def listened():
    """The verb ``said``, which a trigger listens to."""
    register_signal("said", Signal())
    Trigger.objects.define("said").subscribe()
    yield
    catalogue.remove("said")


def through(**arguments):
    """The event, as another process would read it."""
    occurrence = emit("said", **arguments)
    assert occurrence is not None
    return Event.objects.get(occurrence=occurrence)


def columns(instance):
    values = {field.attname: getattr(instance, field.attname) for field in instance._meta.concrete_fields}
    return {name: value for name, value in values.items() if name != "password"}


@given(value=values)
@thorough
def test_any_value(value):
    assert through(it=value).signal_kwargs["it"] == value


@given(instance=instances, target=texts)
@thorough
def test_any_instance(instance, target):
    event = through(action_object=instance, again=[instance], target=target)
    assert event.target == target
    for found in (event.action_object, event.signal_kwargs["again"][0]):
        assert found.__class__ is instance.__class__
        assert columns(found) == columns(instance)


@given(given_kwargs=st.dictionaries(texts.filter(is_plain), values, max_size=5))
@thorough
def test_any_names_of_arguments(given_kwargs):
    reserved = {"verb", "action_object", "actor_object", "target", "using", "instance"}
    arguments = {name: value for name, value in given_kwargs.items() if name not in reserved}
    assert dict(through(**arguments).signal_kwargs) == arguments


def test_what_no_json_column_would_take():
    said = {
        "nul": "a\0b",
        "surrogates": "\udfff \ud800",
        "emoji": "\N{CLAPPER BOARD}",
        "infinite": [math.inf, -math.inf],
    }
    event = through(**said, nan=math.nan)
    assert math.isnan(event.signal_kwargs["nan"])
    assert {name: event.signal_kwargs[name] for name in said} == said


def test_a_user_and_what_they_did_in_one_row():
    ann = get_user_model().objects.create_user("ann", password="secret")
    movie = Movie.objects.create(name="a\N{SNOWMAN}")
    said = {
        "when": datetime.datetime(2026, 3, 29, 2, 30, tzinfo=datetime.timezone(datetime.timedelta(hours=2))),
        "price": decimal.Decimal("1.10"),
        "token_of": uuid.UUID(int=5),
        "tags": {"a", "b"},
    }
    event = through(action_object=movie, actor_object=ann, **said)
    movie.delete()
    get_user_model().objects.all().delete()
    assert isinstance(event.actor_object.password, Placeholder)
    assert (event.actor_object.username, event.action_object.name) == ("ann", "a\N{SNOWMAN}")
    assert {name: event.signal_kwargs[name] for name in said} == said


@pytest.mark.parametrize("size", [530_000, 5_000_000])
def test_what_is_too_large_costs_itself_and_no_more(size, caplog):
    event = through(action_object=Movie(pk=1, name="x" * size), huge="y" * size, small=1)
    assert len(event.payload) <= 524_288
    assert (event.action_object.pk, event.signal_kwargs["small"]) == (1, 1)
    assert "too large to store" in repr(event.action_object.name)
    assert "too large to store" in repr(event.signal_kwargs["huge"])
    assert "is not recorded" not in caplog.text
