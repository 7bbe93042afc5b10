"""The seed's quick start: a trigger on a model signal, a printing messenger, a user."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model

from dsn_core.models import Backend, Delivery, Event, Subscription, Trigger
from tests.testapp.models import TestModel1

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def admin():
    return get_user_model().objects.create_superuser("admin", "admin@example.org", "secret")


@pytest.mark.parametrize("verb", ["pre_save", "post_save"])
def test_creating_an_object_prints_a_message(verb, admin, capsys):
    trigger = Trigger.objects.define(verb, action_object=TestModel1)
    trigger.subscribe(users=[admin], backends=[("console", "simple")])

    TestModel1.objects.create(name="new_test_model2", extra_field="extra")

    printed = capsys.readouterr().out
    assert "To: admin" in printed
    assert f"Subject: {verb}: new_test_model2" in printed
    assert "Action object: new_test_model2" in printed
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.user, delivery.attempts) == (Delivery.Status.SENT, admin, 1)
    assert delivery.event.action_object.pk == TestModel1.objects.get().pk


def test_rows_made_one_by_one_do_the_same_as_subscribe(admin, capsys):
    trigger = Trigger.objects.create(verb="post_save", action_object_model="testapp.testmodel1")
    backend = Backend.objects.create(messenger="console", message_template="simple")
    subscription = Subscription.objects.create(trigger=trigger)
    subscription.backends.add(backend)
    subscription.users.add(admin)

    TestModel1.objects.create(name="by rows")

    assert "Action object: by rows" in capsys.readouterr().out
    assert subscription == trigger.subscribe(backends=[("console", "simple")])


def test_a_subscription_that_is_switched_off_sends_nothing(admin, capsys):
    trigger = Trigger.objects.define("post_save", action_object=TestModel1)
    subscription = trigger.subscribe(users=[admin], backends=[("console", "simple")])

    subscription.enabled = False
    subscription.save()
    TestModel1.objects.create(name="unheard")
    assert (Event.objects.count(), capsys.readouterr().out) == (0, "")

    trigger.subscribe(enabled=True)
    TestModel1.objects.create(name="heard")
    assert "heard" in capsys.readouterr().out


def test_a_trigger_on_one_instance_hears_of_that_one_only(admin, capsys):
    watched, other = TestModel1.objects.create(name="watched"), TestModel1.objects.create(name="other")
    Trigger.objects.define("post_save", action_object=watched).subscribe(
        users=[admin], backends=[("console", "simple")]
    )
    other.save()
    assert capsys.readouterr().out == ""
    watched.save()
    assert "watched" in capsys.readouterr().out


def test_no_receivers_is_no_error(capsys):
    trigger = Trigger.objects.define("post_save", action_object=TestModel1)
    trigger.subscribe(backends=[("console", "simple")])
    TestModel1.objects.create(name="alone")
    assert capsys.readouterr().out == ""
    assert Event.objects.get().status == Event.Status.EXPANDED
    assert not Delivery.objects.exists()
