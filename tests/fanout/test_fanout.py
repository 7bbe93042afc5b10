"""Fan-out: the receivers that get a delivery."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from dsn_core import BaseMessenger, BaseReceiverResolver, Receiver
from dsn_core.fanout import expander, receivers
from dsn_core.intake.record import outbox
from dsn_core.models import Delivery, Event, Subscription, Trigger
from tests.testapp.models import Movie

pytestmark = pytest.mark.django_db


def who(deliveries: list[Delivery]) -> Counter[str]:
    names = dict(User.objects.values_list("pk", "username"))
    return Counter(row.address or names.get(row.user_id, str(row.user_id)) for row in deliveries)


def named(username: str) -> Any:
    return User.objects.filter(username=username)


def resolver(result: Any, name: str = "chosen") -> type[BaseReceiverResolver]:
    def resolve(self: Any, event: Any, argument: str) -> Any:
        return result(event) if callable(result) else result

    return type("Chosen", (BaseReceiverResolver,), {"name": name, "resolve": resolve})


def test_users_and_overlapping_groups_get_one_each(signals, subscribe, fire, people) -> None:
    ann, bob, cyd = people
    first, second = Group.objects.create(name="one"), Group.objects.create(name="two")
    first.user_set.add(ann, bob)
    second.user_set.add(bob, cyd)
    subscribe(users=[ann], groups=[first, second])
    fire(value=1)
    signals.run()
    assert who(signals.deliveries) == {"ann": 1, "bob": 1, "cyd": 1}
    assert sorted(message.user.username for message in signals.sent) == ["ann", "bob", "cyd"]
    assert {row.status for row in signals.deliveries} == {"sent"}


def test_parts_that_a_subscription_lacks_cost_no_query(signals, subscribe, fire, people, untimed) -> None:
    def statements(**given: Any) -> int:
        Trigger.objects.all().delete()
        subscribe(users=people[:1], **given)
        for _ in range(2):
            # The first makes the messenger known.
            fire()
            with CaptureQueriesContext(connection) as captured:
                assert expander.expand_due("default") == 1
        return len(captured)

    alone = statements()
    assert statements(addresses=[("memory", "x")]) == alone + 2, "the addresses, and the deliveries to them"
    assert statements(groups=[Group.objects.create(name="one")]) == alone + 2, "the groups, and how many are in them"


def test_users_who_join_a_group_later_get_it(signals, subscribe, fire, people) -> None:
    group = Group.objects.create(name="one")
    subscribe(groups=[group])
    group.user_set.add(people[0])
    fire()
    signals.run()
    assert who(signals.deliveries) == {"ann": 1}


def test_two_subscriptions_and_two_triggers_send_one_message(signals, subscribe, fire, people) -> None:
    subscribe("a", users=people[:1])
    subscribe("b", users=people[:2])
    subscribe("c", target="stage", users=people)
    fire(target="stage")
    signals.run()
    assert Event.objects.count() == 2
    assert who(signals.deliveries) == {"ann": 1, "bob": 1, "cyd": 1}
    fire(target="stage")
    signals.run()
    assert len(signals.sent) == 6, "another signal is another occurrence"


def test_two_backends_are_two_messages(signals, subscribe, fire, people) -> None:
    subscribe(users=people[:1], backends=[("memory", "plain"), ("memory", "simple")])
    fire()
    signals.run()
    assert [row.backend.message_template for row in signals.deliveries] == ["plain", "simple"]


def test_bare_addresses_by_messenger_and_by_account(signals, subscribe, fire, settings) -> None:
    settings.DSN = {"RUNNER": "worker", "MESSENGERS": {"support": {"MESSENGER": "memory"}}}
    subscribe(
        backends=[("memory", "plain"), ("support", "plain")],
        addresses=[("memory", "all@example.org"), ("support", "support@example.org")],
    )
    fire()
    signals.run()
    assert sorted((row.messenger, row.address, row.status) for row in signals.deliveries) == [
        ("memory", "all@example.org", "sent"),
        ("support", "all@example.org", "sent"),
        ("support", "support@example.org", "sent"),
    ]
    assert {message.user for message in signals.sent} == {None}
    assert len({message.id for message in signals.sent}) == 3


def test_no_receiver_is_no_error(signals, subscribe, fire) -> None:
    subscribe()
    fire()
    progress = signals.run()
    assert (progress.events, progress.deliveries, signals.deliveries) == (1, 0, [])
    assert Event.objects.get().status == "expanded"


def test_a_run_again_adds_nothing(signals, subscribe, fire, people) -> None:
    group = Group.objects.create(name="one")
    group.user_set.add(*people)
    signals.add(resolver(lambda event: [*people, Receiver(messenger="memory", address="x@y.z")]))
    subscribe(users=people, groups=[group], resolver="chosen", addresses=[("memory", "x@y.z")])
    fire()
    signals.run()
    Event.objects.update(status="pending", not_before=datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
    signals.run()
    assert who(signals.deliveries) == {"ann": 1, "bob": 1, "cyd": 1, "x@y.z": 1}
    assert len(signals.sent) == 4


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (lambda people: User.objects.all(), {"ann": 1, "bob": 1, "cyd": 1}),
        (lambda people: User.objects.order_by("-username")[:2], {"bob": 1, "cyd": 1}),
        (lambda people: named("ann").union(named("bob")), {"ann": 1, "bob": 1}),
        (lambda people: User.objects, {"ann": 1, "bob": 1, "cyd": 1}),
        (lambda people: (user for user in people), {"ann": 1, "bob": 1, "cyd": 1}),
        (lambda people: people[0], {"ann": 1}),
        (lambda people: Receiver(user=people[0]), {"ann": 1}),
        (
            lambda people: [Receiver(messenger="memory", address="a@b.c"), Receiver(address="d@e.f")],
            {"a@b.c": 1, "d@e.f": 1},
        ),
        (lambda people: [Receiver(messenger="email", address="a@b.c")], {}),
        (lambda people: [AnonymousUser(), people[1], people[1]], {"bob": 1}),
        (lambda people: AnonymousUser(), {}),
        (lambda people: None, {}),
        (lambda people: [], {}),
    ],
)  # fmt: skip
def test_what_resolvers_may_return(what, expected, signals, subscribe, fire, people) -> None:
    signals.add(resolver(lambda event: what(people)))
    subscribe(resolver="chosen")
    fire()
    signals.run()
    assert who(signals.deliveries) == expected
    assert Event.objects.get().status == "expanded"


@pytest.mark.parametrize(
    "what",
    [
        lambda: 7,
        lambda: "ann",
        lambda: ["ann"],
        lambda: [None],
        Movie.objects.all,
        lambda: User.objects.values("pk"),
        lambda: [User(username="unsaved")],
        lambda: Receiver(user=User(username="unsaved")),
        lambda: Receiver(user=Movie(pk=1)),
        lambda: Receiver(address="x" * 501),
        lambda: Receiver(address="a\0b"),
    ],
)
def test_nonsense_fails_the_event_with_a_sentence_and_keeps_the_others(what, signals, subscribe, fire, people) -> None:
    signals.add(resolver(lambda event: what()))
    Movie.objects.create(name="x")
    subscribe("bad", resolver="chosen")
    subscribe("good", users=people[:1])
    fire()
    signals.run()
    event = Event.objects.get()
    assert (event.status, event.not_before) == ("failed", None)
    assert "The receiver resolver 'chosen' gave" in event.last_error
    assert "it gives users (auth.User) or Receiver objects" in event.last_error
    assert who(signals.deliveries) == {"ann": 1}


def test_a_resolver_that_raises_is_tried_again_until_its_attempts_are_used_up(
    signals, subscribe, fire, people, settings
) -> None:
    settings.DSN = {"RUNNER": "worker", "MAX_ATTEMPTS": 8}
    troubles = [OSError("directory down")] * 3

    def resolve(event: Any) -> Any:
        if troubles:
            raise troubles.pop()
        return people

    signals.add(resolver(resolve))
    subscribe(resolver="chosen")
    fire()
    signals.run()
    event = Event.objects.get()
    assert (event.status, event.attempts, event.lease_token) == ("pending", 1, None)
    assert re.fullmatch(r"OSError: directory down \(tests/fanout/test_fanout\.py:\d+\)", event.last_error)
    signals.run()
    assert Event.objects.get().attempts == 1, "not before its time"
    for _ in range(3):
        signals.run(retries=True)
    assert (Event.objects.get().status, Event.objects.get().last_error) == ("expanded", "")
    assert who(signals.deliveries) == {"ann": 1, "bob": 1, "cyd": 1}

    troubles.extend([OSError("directory down")] * 20)
    fire()
    for _ in range(9):
        signals.run(retries=True)
    event = Event.objects.latest("id")
    assert (event.status, event.attempts, event.not_before) == ("failed", 8, None)


def test_killed_in_the_middle_it_resumes_with_no_receiver_twice_and_none_missing(
    signals, subscribe, fire, people, monkeypatch
) -> None:
    monkeypatch.setattr(receivers, "CHUNK", 2)
    # A process that is killed gives nothing back.
    monkeypatch.setattr(expander.outcomes, "give_back_at_once", lambda *given: None)
    killed = []

    def resolve(event: Any) -> Any:
        for number, user in enumerate(User.objects.order_by("pk")):
            if number == 2 and not killed:
                killed.append(True)
                raise KeyboardInterrupt
            yield user

    signals.add(resolver(resolve))
    subscribe(resolver="chosen")
    fire()
    with pytest.raises(KeyboardInterrupt):
        expander.expand_due(outbox())
    assert len(signals.deliveries) == 2
    event = Event.objects.get()
    assert (event.status, event.lease_token is None) == ("expanding", False)
    assert expander.expand_due(outbox()) == 0, "the lease holds"
    Event.objects.update(not_before=datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
    signals.run()
    assert who(signals.deliveries) == {"ann": 1, "bob": 1, "cyd": 1}
    assert Event.objects.get().status == "expanded"


def test_an_event_that_ends_its_workers_is_given_up_and_takes_no_other_with_it(
    signals, subscribe, fire, people, settings, monkeypatch
) -> None:
    settings.DSN = {"RUNNER": "worker", "MAX_ATTEMPTS": 8}
    monkeypatch.setattr(expander.outcomes, "give_back_at_once", lambda *given: None)

    def resolve(event: Any) -> Any:
        if event.signal_kwargs["value"] == "poison":
            raise KeyboardInterrupt
        return people

    signals.add(resolver(resolve))
    subscribe(resolver="chosen")
    for value in ("poison", "good", "fine"):
        fire(value=value)
    for _ in range(12):
        try:
            signals.run()
        except KeyboardInterrupt:
            Event.objects.filter(status="expanding").update(
                not_before=datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
            )
    assert [event.status for event in Event.objects.order_by("id")] == ["failed", "expanded", "expanded"]
    assert "workers ended" in Event.objects.earliest("id").last_error
    assert who(signals.deliveries) == {"ann": 2, "bob": 2, "cyd": 2}


def test_a_long_fan_out_keeps_its_lease(signals, subscribe, fire, people, settings) -> None:
    settings.DSN = {"RUNNER": "worker", "LEASE_SECONDS": 0.06}
    seen = []

    def resolve(event: Any) -> Any:
        import time

        for user in people:
            time.sleep(0.03)
            seen.append(Event.objects.get(pk=event.pk).not_before)
            yield user

    signals.add(resolver(resolve))
    subscribe(resolver="chosen")
    fire()
    original, receivers.CHUNK = receivers.CHUNK, 1
    try:
        assert expander.expand_due(outbox()) == 1
    finally:
        receivers.CHUNK = original
    assert seen == sorted(seen)
    assert seen[0] < seen[2]
    assert Event.objects.get().status == "expanded"


def test_a_stop_releases_events_that_were_not_begun(signals, subscribe, fire, people) -> None:
    subscribe(users=people[:1])
    for _ in range(3):
        fire()
    assert expander.expand_due(outbox(), Delivery.objects.exists) == 1
    first, *others = Event.objects.order_by("id")
    assert (first.status, first.attempts) == ("expanded", 1)
    assert [(row.status, row.attempts, row.lease_token) for row in others] == [("pending", 0, None)] * 2
    assert Delivery.objects.count() == 1
    assert expander.expand_due(outbox()) == 2, "due at once"
    assert set(Event.objects.values_list("status", "attempts")) == {("expanded", 1)}
    assert Delivery.objects.count() == 3


def test_a_stop_in_the_middle_of_an_event_releases_it_and_it_goes_on(signals, subscribe, fire, people) -> None:
    subscribe(users=people[:1], resolver="everyone")
    fire()
    assert expander.expand_due(outbox(), Delivery.objects.exists) == 0
    event = Event.objects.get()
    assert (event.status, event.attempts, event.deliveries.count()) == ("pending", 0, 1)
    assert expander.expand_due(outbox()) == 1
    event.refresh_from_db()
    assert (event.status, event.attempts, event.deliveries.count(), event.found) == ("expanded", 1, 3, 4)


def test_disabled_and_deleted_rules_send_nothing(signals, subscribe, fire, people) -> None:
    subscription = subscribe(users=people)
    fire()
    Subscription.objects.update(enabled=False)
    signals.run()
    Subscription.objects.update(enabled=True)
    fire()
    Trigger.objects.update(enabled=False)
    signals.run()
    Trigger.objects.update(enabled=True)
    fire()
    subscription.trigger.delete()
    signals.run()
    assert signals.deliveries == []
    assert set(Event.objects.values_list("status", flat=True)) == {"expanded"}


#: What the newest delivery was, a transaction's two ends, where the new ones begin and end, and their pages.
PAGED_COSTS = 5


def test_static_receivers_cost_a_constant_number_of_queries(signals, subscribe, fire, people, untimed) -> None:
    def cost() -> int:
        fire()
        with CaptureQueriesContext(
            connection,
        ) as queries:
            expander.expand_due(outbox())
        return len(queries)

    group = Group.objects.create(name="one")
    group.user_set.add(people[0])
    subscribe(users=people, groups=[group])
    cost()
    few = cost()
    for number in (200, 600):
        group.user_set.add(*User.objects.bulk_create(User(username=f"u{number}-{n}") for n in range(number)))
        # Many wait in pages: what is made around the INSERT, for up to 20,000 at once.
        assert cost() == few + PAGED_COSTS
    assert Delivery.objects.latest("id").event.deliveries.count() == 803


def test_querysets_are_paged_by_key(people) -> None:
    User.objects.bulk_create(User(username=f"u{n}") for n in range(7))
    keys = list(User.objects.order_by("pk").values_list("pk", flat=True))
    pages = list(receivers.pages_of_keys(User.objects.order_by("-username"), 4))
    assert [len(page) for page in pages] == [4, 4, 2]
    assert [key for page in pages for key in page] == keys
    assert [len(page) for page in receivers.pages_of_keys(User.objects.order_by("pk")[:5], 5)] == [5]
    assert list(receivers.pages_of_keys(User.objects.none(), 5)) == []


class Itself(BaseMessenger):
    name = "itself"

    @classmethod
    def send(cls, template, users, trigger_context, signal_kwargs) -> None:
        pass


def test_a_seed_style_messenger_is_called_without_receivers_and_once(signals, subscribe, fire, people) -> None:
    signals.add(Itself)
    subscribe("nobody", backends=[("itself", "plain")])
    subscribe("nobody else", target="t", backends=[("itself", "plain")])
    subscribe("an address", backends=[("itself", "plain")], addresses=[("itself", "a@b.c")])
    fire(target="t")
    expander.expand_due(outbox())
    assert sorted((row.user_id, row.address) for row in signals.deliveries) == [(None, ""), (None, "a@b.c")]


def test_priorities_and_columns_of_a_new_delivery(signals, subscribe, fire, people) -> None:
    subscribe(users=people[:1], priority=0)
    occurrence = fire()
    expander.expand_due(outbox())
    row = Delivery.objects.get()
    assert (row.priority, row.status, row.attempts, row.messenger) == (0, "pending", 0, "memory")
    assert (row.occurrence, row.address, row.address_key, row.lease_token) == (occurrence, "", None, None)
    assert row.not_before == row.created_at


def test_a_large_group_is_expanded_page_by_page_and_the_first_page_is_the_smallest(
    signals, subscribe, fire, monkeypatch
) -> None:
    monkeypatch.setattr(receivers, "FIRST_USERS", 1)
    monkeypatch.setattr(receivers, "USERS_PER_STATEMENT", 4)
    group = Group.objects.create(name="crowd")
    group.user_set.add(*(User.objects.create_user(f"user{number}") for number in range(12)))
    subscribe(groups=[group])
    fire()
    there: list[int] = []
    work = expander.Expander(outbox(), made=lambda: there.append(Delivery.objects.count()))
    monkeypatch.setattr(expander, "TELL_SECONDS", 0)
    assert work.work().done == 1
    assert there == [1, 3, 7, 11, 12], "the threads that send are told of each page"
    assert who(signals.deliveries) == {f"user{number}": 1 for number in range(12)}
    assert Event.objects.get().found == 12


def test_a_fan_out_that_is_killed_repeatedly_but_makes_progress_is_not_given_up(
    signals, subscribe, fire, settings, monkeypatch
) -> None:
    settings.DSN = {"RUNNER": "worker", "MAX_ATTEMPTS": 2}
    monkeypatch.setattr(receivers, "CHUNK", 1)
    monkeypatch.setattr(expander, "NOTE_SECONDS", 0)
    users = [User.objects.create_user(f"user{number}") for number in range(6)]
    deaths: list[int] = []

    def resolve(event: Any) -> Any:
        for number, user in enumerate(users):
            if number == len(deaths) + 1:
                deaths.append(number)
                raise KeyboardInterrupt
            yield user

    signals.add(resolver(resolve))
    subscribe(resolver="chosen")
    fire()
    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            expander.expand_due(outbox())
        assert Event.objects.get().found == len(deaths)
        Event.objects.update(not_before=datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
    signals.run()
    assert Counter(delivery.user_id for delivery in signals.deliveries) == {user.pk: 1 for user in users}
    event = Event.objects.get()
    assert (event.status, event.found) == ("expanded", 6)


def test_an_address_for_a_messenger_without_a_backend_is_said(signals, subscribe, fire, people, caplog) -> None:
    odd = [Receiver(messenger="pager", address=str(number)) for number in range(3)]
    signals.add(resolver(lambda event: [*odd, Receiver(messenger="memory", address="x@y.z")]))
    subscribe(resolver="chosen")
    fire()
    signals.run()
    assert len(signals.sent) == 1
    said = f"Event {Event.objects.get().pk}: 3 addresses for the messenger 'pager' get nothing"
    assert caplog.text.count(said) == 1
