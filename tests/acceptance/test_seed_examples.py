"""The seed's own examples, with nothing changed but the import line and how they are registered.

Mended are the two slips of the seed's text: a manager is not iterable without ``.all()``, and a
missing argument raises KeyError.
"""

# The classes below are the seed's text: its names, its classmethods that call cls "self".
# ruff: noqa: N801, N804

from __future__ import annotations

import datetime
import logging

import pytest
from django.contrib.auth import get_user_model
from django.dispatch import Signal

from dsn_core import BaseMessageTemplate, BaseMessenger
from dsn_core.models import Delivery, Trigger
from tests.testapp.models import Movie, TestModel1

pytestmark = pytest.mark.django_db(transaction=True)

logger = logging.getLogger(__name__)


class My_messenger:
    sent: list = []

    @classmethod
    def send_my_message(cls, user_receiver, context):
        cls.sent.append((user_receiver.username, context))


class simple_Messenger(BaseMessenger):
    @classmethod
    def send(self, template, users, trigger_context, signal_kwargs):
        for user in users:
            rendered_message = template.render(user=user, trigger_context=trigger_context, signal_kwargs=signal_kwargs)

            My_messenger.send_my_message(user_receiver=user, context=rendered_message)


class Notify_audiences_messenger(BaseMessenger):
    @classmethod
    def send(self, template, users, trigger_context, signal_kwargs):
        # Ignore the messenger when movie was not specified.
        # We did it to avoid calling this messenger by other asymmetric signals other than notify_audiences
        try:
            movie = signal_kwargs["movie"]
            audiences = movie.audiences.all()
        except KeyError:
            logger.error("Specified signal and Notify_audiences_messenger as backend don't match together.")
            return

        for user in audiences:
            message = template.render(user=user, trigger_context=trigger_context, signal_kwargs=signal_kwargs)

            # Send the rendered message to the user
            My_messenger.send_my_message(user_receiver=user, context=message)


class Simple_message_template(BaseMessageTemplate):
    template_string = """
    {% if \"verb\" in context and context.verb != None %}
        <div>
            <p>{{ context.verb }}</p>
        </div>
    {% endif %} """


class Dated_message_template(BaseMessageTemplate):
    template_string = "{{ context.user.username }}: {{ context.movie.name }} on {{ context.current_time }}"

    def get_template_context(self, context):
        context = super().get_template_context(context)

        # Your code :
        context["current_time"] = str(datetime.datetime.now().date())  # noqa: DTZ005 - the seed's own line
        return context


notify_audiences = Signal()


@pytest.fixture(autouse=True)
def seed(dsn):
    My_messenger.sent.clear()
    dsn.add(simple_Messenger, Notify_audiences_messenger, Simple_message_template, Dated_message_template)
    # The seed's spelling, as in its AppConfig.ready().
    Trigger.registered_verb_signal("notify_audiences", notify_audiences)


@pytest.fixture
def people():
    return [get_user_model().objects.create_user(name) for name in ("ann", "bob", "cy")]


@pytest.mark.parametrize("engine", ["jinja2", "django"])
def test_simple_messenger(people, monkeypatch, engine):
    monkeypatch.setattr(Simple_message_template, "engine", engine)
    monkeypatch.setattr(Simple_message_template, "_compiled", None)
    trigger = Trigger.objects.define("post_save", action_object=TestModel1)
    trigger.subscribe(users=people[:2], backends=[("simple_Messenger", "Simple_message_template")])

    TestModel1.objects.create(name="one")

    assert [name for name, _ in My_messenger.sent] == ["ann", "bob"]
    assert "".join(My_messenger.sent[0][1].split()) == "<div><p>post_save</p></div>"
    assert [delivery.status for delivery in Delivery.objects.all()] == [Delivery.Status.SENT] * 2


@pytest.mark.parametrize("send", ["send", "send_robust"])
def test_notify_audiences_messenger_chooses_its_own_users(people, send):
    movie = Movie.objects.create(name="Alien")
    movie.audiences.set(people[1:])
    trigger = Trigger.objects.define("notify_audiences")
    trigger.subscribe(backends=[("Notify_audiences_messenger", "Dated_message_template")])

    getattr(notify_audiences, send)(sender=Movie, movie=movie)

    today = datetime.datetime.now().date()  # noqa: DTZ005
    assert My_messenger.sent == [("bob", f"bob: Alien on {today}"), ("cy", f"cy: Alien on {today}")]
    chosen = Delivery.objects.filter(user__isnull=False)
    assert {(delivery.user.username, delivery.status) for delivery in chosen} == {("bob", "sent"), ("cy", "sent")}


def test_notify_audiences_messenger_with_another_signal_sends_nothing(people, caplog):
    trigger = Trigger.objects.define("post_save", action_object=TestModel1)
    trigger.subscribe(backends=[("Notify_audiences_messenger", "Simple_message_template")])
    TestModel1.objects.create(name="no movie")
    assert My_messenger.sent == []
    assert "don't match together" in caplog.text
    assert [delivery.status for delivery in Delivery.objects.all()] == [Delivery.Status.SKIPPED]


def test_the_same_with_a_resolver_and_any_messenger(dsn, people):
    movie = Movie.objects.create(name="Alien")
    movie.audiences.set(people[1:])
    trigger = Trigger.objects.define("notify_audiences")
    trigger.subscribe(resolver="path", argument="movie.audiences", backends=[("memory", "Dated_message_template")])
    notify_audiences.send(sender=Movie, movie=movie)
    assert [message.user.username for message in dsn.sent] == ["bob", "cy"]
