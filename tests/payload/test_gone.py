"""Events that speak of what is gone: failed with the reason, and sent once it is back."""

from __future__ import annotations

import pytest
from django.dispatch import Signal

from dsn_core import BaseCodec, BaseMessageTemplate, emit, register_signal
from dsn_core.models import Delivery, Event, Trigger
from dsn_core.plugins.catalogue import catalogue
from dsn_core.plugins.registry import registry
from tests.testapp.models import Movie

pytestmark = pytest.mark.django_db


class Money:
    def __init__(self, amount):
        self.amount = amount


class MoneyCodec(BaseCodec):
    name = "money"
    python_type = Money

    def encode(self, value):
        return value.amount

    def decode(self, data):
        return Money(data)


class Price(BaseMessageTemplate):
    name = "price"
    text = "It costs {{ it.amount }}{{ it.name }}."


@pytest.fixture(autouse=True)
def said(dsn, settings, django_user_model):
    settings.DSN = {"RUNNER": "worker"}
    register_signal("said", Signal())
    dsn.add(Price)
    yield Trigger.objects.define("said")
    catalogue.remove("said")


@pytest.fixture
def ann(django_user_model):
    return django_user_model.objects.create_user("ann", "ann@example.org")


def test_a_codec(dsn, said, ann):
    said.subscribe(users=[ann], backends=[("memory", "price")])
    plugin = dsn.add(MoneyCodec)
    emit("said", it=Money("1.50"))
    registry.remove(plugin)
    dsn._plugins.remove(plugin)
    dsn.run()
    delivery = Delivery.objects.get()
    assert (delivery.status, dsn.sent) == (Delivery.Status.FAILED, [])
    assert "stored by the codec 'money', which is not installed" in delivery.last_error
    dsn.add(MoneyCodec)
    assert Delivery.objects.retry() == 1
    dsn.run()
    assert [message.text for message in dsn.sent] == ["It costs 1.50."]


def test_a_model_that_the_message_needs(dsn, said, ann):
    said.subscribe(users=[ann], backends=[("memory", "price")])
    emit("said", it=Movie(pk=1, name="M"))
    (event,) = Event.objects.all()
    Event.objects.update(payload=event.payload.replace("testapp.movie", "gone.movie"))
    dsn.run()
    delivery = Delivery.objects.get()
    assert delivery.status == Delivery.Status.FAILED
    assert "refers to the model 'gone.movie', which this project does not have" in delivery.last_error
    Event.objects.update(payload=event.payload)
    Delivery.objects.retry()
    dsn.run()
    assert [message.text for message in dsn.sent] == ["It costs M."]


def test_a_model_that_the_receivers_are_found_by(dsn, said, ann):
    said.subscribe(resolver="path", argument="it.audiences", backends=[("memory", "price")])
    movie = Movie.objects.create(name="M")
    movie.audiences.add(ann)
    emit("said", it=movie)
    (event,) = Event.objects.all()
    Event.objects.update(payload=event.payload.replace("testapp.movie", "gone.movie"))
    dsn.run()
    failed = Event.objects.get()
    assert (failed.status, Delivery.objects.count()) == (Event.Status.FAILED, 0)
    assert "gone.movie" in failed.last_error
    Event.objects.update(payload=event.payload)
    assert Event.objects.retry() == 1
    dsn.run()
    assert [message.user for message in dsn.sent] == [ann]


def test_a_field_that_the_model_has_lost_or_gained_since_is_no_trouble(said, django_assert_num_queries):
    said.subscribe()
    movie = Movie.objects.create(name="now")
    emit("said", it=movie)
    (event,) = Event.objects.all()
    lost = event.payload.replace('"name":', '"title":')
    Event.objects.update(payload=lost)
    found = Event.objects.get().signal_kwargs["it"]
    assert found.get_deferred_fields() == {"name"}
    with django_assert_num_queries(1):
        assert found.name == "now"
