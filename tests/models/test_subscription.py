"""Subscription: set up in code, refused when it cannot work."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.dispatch import Signal

from dsn_core import BaseMessageTemplate, SignalRegistration
from dsn_core.models import Backend, Subscription, Trigger

pytestmark = pytest.mark.django_db

released = Signal()
unknown = Signal()


class NeedsMovie(BaseMessageTemplate):
    name = "needs_movie"
    text = "{{ movie }}"
    required_signal_args = ("movie", "instance")


@pytest.fixture
def trigger(dsn: Any) -> Trigger:
    dsn.add(
        SignalRegistration("released", released, provides=["movie"]), SignalRegistration("unknown", unknown), NeedsMovie
    )
    return Trigger.objects.define("released")


@pytest.fixture
def ann(db: None) -> User:
    return User.objects.create_user("ann")


def test_what_is_given_replaces_and_what_is_left_out_stays(trigger, ann) -> None:
    group = Group.objects.create(name="g")
    made = trigger.subscribe(
        "news", users=[ann], groups=[group], resolver="path", argument="movie.audiences", priority=0,
        addresses=[("memory", "a@b.c"), ("memory", "a@b.c")], backends=[("memory", "simple")],
    )  # fmt: skip
    again = trigger.subscribe("news", users=(), addresses=[("memory", "d@e.f")])
    assert again == made
    assert list(again.users.all()) == []
    assert list(again.groups.all()) == [group]
    assert (again.resolver, again.argument, again.priority, again.enabled) == ("path", "movie.audiences", 0, True)
    assert [(row.messenger, row.address) for row in again.addresses.all()] == [("memory", "d@e.f")]
    assert [str(backend) for backend in again.backends.all()] == ["simple by memory"]
    trigger.subscribe("news", enabled=False, resolver="", argument="", backends=[Backend.objects.get()])
    again.refresh_from_db()
    assert (again.enabled, again.resolver, again.argument) == (False, "", "")
    assert trigger.subscribe().pk != made.pk
    assert trigger.subscriptions.count() == 2


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"backends": [("pigeon", "simple")]}, "There is no messenger 'pigeon'"),
        (
            {"backends": [("memory", "needs_movie")]},
            "needs the signal arguments instance, which released does not provide",
        ),
        ({"resolver": "pathh"}, "There is no receiver resolver 'pathh' .did you mean 'path'"),
        ({"resolver": "path", "argument": "film.audiences"}, "begins with 'film', which released does not provide"),
        ({"argument": "movie"}, "An argument needs the resolver"),
        ({"addresses": [("pigeon", "x")]}, "There is no messenger 'pigeon'"),
        (
            {"addresses": [("console", "x")], "backends": [("memory", "simple")]},
            "no backend of the subscription sends by it",
        ),
        ({"addresses": [("memory", "x" * 501)]}, "at most 500 characters"),
        ({"addresses": [("memory", "")]}, "cannot be blank"),
        ({"priority": 9}, "is not a valid choice"),
    ],
)
def test_what_cannot_work_is_refused_and_nothing_is_kept(given, sentence, trigger, ann) -> None:
    with pytest.raises(ValidationError, match=sentence):
        trigger.subscribe("bad", users=[ann], **given)
    assert Subscription.objects.count() == 0


def test_required_arguments_are_refused_by_every_way_of_configuring(trigger, dsn) -> None:
    backend = Backend.objects.define("memory", "needs_movie")
    subscription = trigger.subscribe(backends=[("memory", "simple")])
    for configure in (
        lambda: subscription.backends.add(backend),
        lambda: subscription.backends.set([backend]),
        lambda: backend.subscriptions.add(subscription),
    ):
        with pytest.raises(ValidationError, match="It provides movie"), transaction.atomic():
            configure()
    assert list(subscription.backends.values_list("message_template", flat=True)) == ["simple"]
    free = Trigger.objects.define("unknown").subscribe(backends=[backend])
    assert list(free.backends.all()) == [backend], "what a signal provides is not known: nothing is refused"


def test_the_form_and_the_code_refuse_the_same(trigger) -> None:
    subscription = trigger.subscribe(resolver="path", argument="movie.audiences")
    subscription.argument = "film.audiences"
    with pytest.raises(ValidationError, match="begins with 'film'"):
        subscription.full_clean()
    with pytest.raises(ValidationError, match="subscription of this name already"):
        Subscription(trigger=trigger, name="").full_clean()
    trigger.subscribe("other")
    assert str(Subscription.objects.get(name="other")) == "other (released)"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"backends": ["console"]}, "'console' is no backend: give a Backend, or a pair"),
        ({"addresses": ["a@b.c"]}, "'a@b.c' is no address: give a pair of messenger and address"),
        ({"users": "ann"}, r"users is 'ann'; it is a list: users=\['ann'\]"),
        ({"groups": 3}, r"groups is 3; it is a list: groups=\[3\]"),
    ],
)
def test_what_is_no_list_or_pair_is_said_so(trigger, given, sentence) -> None:
    with pytest.raises(ValidationError, match=sentence):
        trigger.subscribe(**given)
    assert not Subscription.objects.exists()


def test_a_subscription_that_is_moved_leaves_its_old_trigger(dsn, ann) -> None:
    old = Trigger.objects.define("post_save", action_object=Group)
    new = Trigger.objects.define("post_delete", action_object=Group)
    subscription = old.subscribe(users=[ann], backends=[("memory", "simple")])
    subscription.trigger = new
    subscription.save()
    group = Group.objects.create(name="g")
    dsn.run()
    assert dsn.sent == []
    group.delete()
    dsn.run()
    assert [message.subject for message in dsn.sent] == ["post_delete: g"]
    # Moved back by the related manager, which passes by save().
    old.subscriptions.add(subscription)
    Group.objects.create(name="h")
    dsn.run()
    assert dsn.sent[-1].subject == "post_save: h"
