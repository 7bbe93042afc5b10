"""What messages, resolvers and filters are told, and that reading it costs no query."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from dsn_core import (
    ActivityView,
    BackendView,
    BaseMessageTemplate,
    BaseMessenger,
    BaseReceiverFilter,
    BaseReceiverResolver,
    DeliveryView,
    Message,
)
from dsn_core.models import Delivery, Event
from dsn_core.testing import MemoryMessenger

EVENT = [name for name, found in vars(ActivityView).items() if isinstance(found, property)]
DELIVERY = [name for name, found in vars(DeliveryView).items() if isinstance(found, property)]
BACKEND = [name for name, found in vars(BackendView).items() if isinstance(found, property)]


class About(BaseMessageTemplate):
    name = "about"
    text = "Hello"
    topics = ["orders", "shop"]


def test_a_message_says_its_messenger_its_event_and_its_topics(signals, subscribe, fire, people, settings) -> None:
    settings.DSN = {**settings.DSN, "MESSENGERS": {"second": {"MESSENGER": "memory"}}}
    signals.add(About)
    subscribe(users=people[:1], backends=[("second", "about")])
    subscribe("other", users=people[1:2], backends=[("memory", "plain")])
    occurrence = fire()
    signals.run()
    event = Event.objects.get()
    ann, bob = sorted(MemoryMessenger.outbox, key=lambda message: str(message.user))
    assert (ann.messenger, ann.topics) == ("second", ("orders", "shop"))
    assert (bob.messenger, bob.topics) == ("memory", ())
    for message in (ann, bob):
        assert (message.event.id, message.event.verb) == (event.pk, "happened")
        assert (message.event.occurrence, message.event.time) == (occurrence, event.created_at)
        with pytest.raises(AttributeError):
            message.event.verb = "other"


def test_a_template_that_renders_itself_can_choose_the_topics(signals, subscribe, fire, people) -> None:
    def render(self: Any, *args: Any) -> Message:
        return Message("Hello", topics=["chosen"])

    signals.add(type("Own", (About,), {"name": "own", "render": render}))
    subscribe(users=people[:1], backends=[("memory", "own")])
    fire()
    signals.run()
    assert MemoryMessenger.outbox[0].topics == ("chosen",)


def test_so_does_a_message_of_the_seed_s_way(signals, subscribe, fire, people) -> None:
    sent: list[Message] = []

    class Legacy(BaseMessenger):
        name = "legacy"

        def send(self, template: Any, users: Any, trigger_context: Any, signal_kwargs: Any) -> None:
            sent.extend(template.render(user, trigger_context, signal_kwargs) for user in users)

    signals.add(Legacy, About)
    subscribe(users=people, backends=[("legacy", "about")])
    fire()
    signals.run()
    assert {(message.messenger, message.topics, message.event.id) for message in sent} == {
        ("legacy", ("orders", "shop"), Event.objects.get().pk)
    }


def test_a_filter_and_a_resolver_read_all_they_are_given_without_a_query(signals, subscribe, fire, db) -> None:
    given: list[Any] = []
    costs: list[int] = []

    class Reading(BaseReceiverFilter):
        def exclude(self, deliveries: Any) -> dict[Any, str]:
            with CaptureQueriesContext(
                connection,
            ) as queries:
                for delivery in deliveries:
                    given.append({name: getattr(delivery, name) for name in DELIVERY})
                    given.append({name: getattr(delivery.event, name) for name in EVENT})
                    given.append({name: getattr(delivery.backend, name) for name in BACKEND})
                    assert delivery.user.username == delivery.user.username
            costs.append(len(queries))
            return {}

    class Finding(BaseReceiverResolver):
        name = "finding"

        def resolve(self, event: Any, argument: str) -> Any:
            with CaptureQueriesContext(connection) as queries:
                given.append({name: getattr(event, name) for name in EVENT})
                assert event.action_object.username == "n0"
            costs.append(len(queries))
            return User.objects.all()

    signals.add(Reading, Finding)
    users = User.objects.bulk_create([User(username=f"n{number}") for number in range(30)])
    subscribe(resolver="finding", backends=[("memory", "plain")])
    fire(action_object=users[0], actor_object=users[1])
    signals.run()
    assert costs == [0, 0]
    assert Delivery.objects.filter(status="sent").count() == 30
    first = given[1]
    assert (first["user"].pk, first["address"], first["messenger"]) == (first["user_id"], "", "memory")
    assert given[0]["actor_object"] == users[1]
    assert given[3] == {"messenger": "memory", "message_template": "plain"}


@pytest.mark.parametrize("view", [ActivityView, DeliveryView, BackendView])
def test_each_attribute_says_what_it_is(view: type) -> None:
    assert inspect.getdoc(view)
    assert [name for name, found in vars(view).items() if isinstance(found, property) and not found.__doc__] == []


@pytest.mark.parametrize("topics", ["orders", [""], ["two words"], [7]])
def test_topics_are_a_list_of_names(topics: Any) -> None:
    from dsn_core.exceptions import ContractError

    with pytest.raises(ContractError, match="topic"):
        type("Odd", (About,), {"topics": topics}).check_contract()
