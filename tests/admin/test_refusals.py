"""What the models refuse, the forms refuse: at the field, and never with a server error."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.db.models.signals import post_save
from django.test import Client

from dsn_core.models import Backend, Subscription, SubscriptionAddress, Trigger
from tests.admin.pages import TRIGGER, addresses, errors, url
from tests.testapp.models import Movie


@pytest.fixture
def trigger(plugin: Any) -> Trigger:
    return Trigger.objects.define("post_save", action_object=Movie)


def subscription_data(trigger: Trigger, *backends: Backend, **more: Any) -> dict[str, Any]:
    data = {"trigger": trigger.pk, "enabled": "on", "priority": "1", "backends": [backend.pk for backend in backends]}
    return {**data, **addresses(), **more}


@pytest.mark.parametrize(
    ("given", "field", "message"),
    [
        ({}, "verb", "required"),
        ({"verb": "post_sav"}, "verb", "did you mean 'post_save'?"),
        ({"verb": "post_save"}, "action_object_model", "must name the model"),
        ({"verb": "post_save", "action_object_model": "no.model"}, "action_object_model", "no model no.model"),
        ({"verb": "request_started", "action_object_pk": "5"}, "action_object_model", "needs the model"),
        (
            {"verb": "post_save", "action_object_model": "testapp.movie", "action_object_pk": "five"},
            "action_object_pk",
            "not a key",
        ),
        ({"verb": "request_started", "actor_object_pk": "5"}, "actor_object_model", "needs the model"),
        ({"verb": "request_started", "target": "x" * 300}, "target", "at most 255"),
        ({"verb": "post_save\x00"}, "verb", "Null characters"),
    ],
)
def test_triggers_that_cannot_work(
    client: Client, plugin: Any, given: dict[str, str], field: str, message: str
) -> None:
    found = errors(client.post(url(Trigger, "add"), {**TRIGGER, **given}))
    assert list(found) == [field]
    assert message in found[field]
    assert not Trigger.objects.exists()


def test_a_required_verb_is_asked_for_once(client: Client, plugin: Any) -> None:
    found = errors(client.post(url(Trigger, "add"), TRIGGER))
    assert found == {"verb": "This field is required."}


def test_the_same_trigger_twice(client: Client, trigger: Trigger) -> None:
    data = {**TRIGGER, "verb": "post_save", "action_object_model": "testapp.movie"}
    assert "already" in errors(client.post(url(Trigger, "add"), data))["__all__"]


def test_a_trigger_that_its_subscriptions_do_not_fit(client: Client, trigger: Trigger, plain_backend: Backend) -> None:
    trigger.subscribe(resolver="path", argument="instance.audiences", backends=[plain_backend])
    data = {**TRIGGER, "verb": "user_logged_in"}
    found = errors(client.post(url(Trigger, "change", trigger.pk), data))
    assert "begins with 'instance', which user_logged_in does not provide" in found["__all__"]


@pytest.mark.parametrize(
    ("given", "field", "message"),
    [
        ({"messenger": "pagr", "message_template": "plain"}, "messenger", "did you mean 'pager'?"),
        ({"messenger": "pager", "message_template": "plaine"}, "message_template", "did you mean 'plain'?"),
        ({"messenger": "", "message_template": "plain"}, "messenger", "required"),
    ],
)
def test_backends_that_cannot_work(
    client: Client, plugin: Any, given: dict[str, str], field: str, message: str
) -> None:
    found = errors(client.post(url(Backend, "add"), given))
    assert list(found) == [field]
    assert message in found[field]


def test_the_same_backend_twice(client: Client, plain_backend: Backend) -> None:
    found = errors(client.post(url(Backend, "add"), {"messenger": "pager", "message_template": "plain"}))
    assert list(found) == ["__all__"]


def test_a_message_template_that_needs_more_than_the_signal_provides(
    client: Client, trigger: Trigger, plain_backend: Backend
) -> None:
    needy = Backend.objects.define("pager", "about_movie")
    found = errors(client.post(url(Subscription, "add"), subscription_data(trigger, needy, plain_backend)))
    assert list(found) == ["backends"]
    assert "about_movie needs the signal arguments movie, which post_save does not provide" in found["backends"]
    assert not Subscription.objects.exists()


def test_another_trigger_that_provides_less(client: Client, trigger: Trigger, plugin: Any) -> None:
    generous = Trigger.objects.define("user_logged_in")
    needy = Backend.objects.create(messenger="pager", message_template="about_movie")
    made = generous.subscribe("x")
    found = errors(client.post(url(Subscription, "change", made.pk), subscription_data(trigger, needy)))
    assert list(found) == ["backends"]


@pytest.mark.parametrize(
    ("given", "field", "message"),
    [
        ({"argument": "instance.audiences"}, "argument", "needs the resolver"),
        ({"resolver": "pathh", "argument": "x"}, "resolver", "did you mean 'path'?"),
        ({"resolver": "path", "argument": "instance.nothing"}, "argument", "has no 'nothing'"),
        ({"resolver": "duty", "argument": "many"}, "argument", "not a number of hours"),
        ({"trigger": ""}, "trigger", "required"),
        ({"trigger": "999"}, "trigger", "valid choice"),
        ({"trigger": "abc"}, "trigger", "valid choice"),
        ({"backends": ["999"]}, "backends", "not one of the available choices"),
        ({"backends": ["abc"]}, "backends", "not a valid value"),
        ({"users": ["999"]}, "users", "not one of the available choices"),
        ({"users": ["abc"]}, "users", "not a valid value"),
        ({"priority": "7"}, "priority", "not one of the available choices"),
    ],
)
def test_subscriptions_that_cannot_work(
    client: Client, trigger: Trigger, plain_backend: Backend, given: dict[str, Any], field: str, message: str
) -> None:
    found = errors(client.post(url(Subscription, "add"), {**subscription_data(trigger, plain_backend), **given}))
    assert list(found) == [field]
    assert message in found[field]


def test_the_same_name_twice(client: Client, trigger: Trigger, plain_backend: Backend) -> None:
    trigger.subscribe("x")
    found = errors(client.post(url(Subscription, "add"), subscription_data(trigger, plain_backend, name="x")))
    assert "choose another name" in found["__all__"]


@pytest.mark.parametrize(
    ("rows", "field", "message"),
    [
        ([("console", "a")], "addresses-0-messenger", "no backend of the subscription sends by it"),
        ([("pager", "a"), ("night", "b")], "addresses-1-messenger", "no backend of the subscription sends by it"),
        ([("pagr", "a")], "addresses-0-messenger", "did you mean 'pager'?"),
        ([("", "a")], "addresses-0-messenger", "required"),
        ([("pager", "")], "addresses-0-address", "required"),
        ([("pager", "x" * 501)], "addresses-0-address", "at most 500"),
        ([("pager", "a"), ("pager", "a")], "addresses", "duplicate"),
        ([("pager", "a"), ("pager", "A")], "addresses-1-address", "listed twice"),
    ],
)
def test_addresses_that_cannot_work(
    client: Client, trigger: Trigger, plain_backend: Backend, rows: Any, field: str, message: str
) -> None:
    data = subscription_data(trigger, plain_backend) | addresses(*rows)
    found = errors(client.post(url(Subscription, "add"), data))
    assert message in found[field]
    assert not SubscriptionAddress.objects.exists()


def test_an_address_whose_backend_is_taken_away(client: Client, trigger: Trigger, plain_backend: Backend) -> None:
    made = trigger.subscribe("x", addresses=[("pager", "1")], backends=[plain_backend, ("console", "simple")])
    row = made.addresses.get()
    ids = {"addresses-0-id": row.pk, "addresses-0-subscription": made.pk}
    data = subscription_data(trigger, Backend.objects.get(messenger="console"), name="x")
    found = errors(client.post(url(Subscription, "change", made.pk), data | addresses(("pager", "1"), stored=1, **ids)))
    assert "no backend of the subscription sends by it" in found["addresses-0-messenger"]


def test_a_prefilled_trigger_that_is_none(client: Client, plugin: Any) -> None:
    for given in ("abc", "999", "1,2"):
        assert client.get(url(Subscription, "add"), {"trigger": given}).status_code == 200


def test_what_only_the_database_finds_is_a_message_and_nothing_is_saved(
    client: Client, trigger: Trigger, plain_backend: Backend
) -> None:
    def somebody_else(**kwargs: Any) -> None:
        """Between the form's checks and the saving of its backends, one of them is changed."""
        Backend.objects.filter(pk=plain_backend.pk).update(message_template="about_movie")

    post_save.connect(somebody_else, sender=Subscription)
    try:
        response = client.post(url(Subscription, "add"), subscription_data(trigger, plain_backend))
    finally:
        post_save.disconnect(somebody_else, sender=Subscription)
    assert response.status_code == 302
    (message,) = [str(item) for item in get_messages(response.wsgi_request)]
    assert "Nothing was saved" in message
    assert "about_movie needs" in message
    assert not Subscription.objects.exists()
