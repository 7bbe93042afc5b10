"""Sending: from a claimed batch to settled deliveries."""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from dsn_core import BaseMessageTemplate, BaseMessenger, BaseReceiverFilter, Message, Options, Receipt, secret
from dsn_core.intake.record import outbox
from dsn_core.models import Backend, Delivery, Event, MessengerState
from dsn_core.models.clock import DatabaseNow
from dsn_core.plugins.registry import registry
from dsn_core.queue import waits
from dsn_core.queue.claiming import claim
from dsn_core.sending import handing_over, pacing, sender
from dsn_core.sending.settling import Verdict, settle
from dsn_core.signals import delivery_finished, messenger_paused
from dsn_core.testing import MemoryMessenger
from tests.testapp.models import Profile

pytestmark = pytest.mark.django_db

CANARY = "12345:canary-token"


@pytest.fixture(autouse=True)
def unhurried(monkeypatch):
    """Between portions nothing looks for a pause: that costs a query after some time, and tests count queries."""
    monkeypatch.setattr(handing_over, "LOOK_SECONDS", float("inf"))


@dataclass(frozen=True, kw_only=True)
class TokenOptions(Options):
    TOKEN: str = secret(default=CANARY)


class Scripted(BaseMessenger):
    """Answers as the test says."""

    name = "scripted"
    Options = TokenOptions
    script: Any = None
    calls: list[list[Message]] = []

    def send_messages(self, messages: Any) -> Any:
        type(self).calls.append(list(messages))
        return type(self).script(messages)


@pytest.fixture
def scripted(signals: Any, subscribe: Any, people: list[Any]) -> type[Scripted]:
    """A messenger that the test scripts, with three users subscribed."""
    cls = type("Mine", (Scripted,), {"name": "scripted", "calls": [], "script": None})
    signals.add(cls)
    subscribe(users=people, backends=[("scripted", "plain")])
    return cls


def rows() -> list[Delivery]:
    return list(Delivery.objects.order_by("id"))


def statuses() -> list[str]:
    return [row.status for row in rows()]


def in_seconds(row: Delivery) -> float:
    now = Delivery.objects.annotate(now=DatabaseNow()).values_list("now", flat=True)[0]
    return (row.not_before - now).total_seconds()


def again(**values: Any) -> None:
    """What an operator does to send deliveries once more."""
    Delivery.objects.update(status="pending", attempts=0, not_before=DatabaseNow(), finished_at=None, **values)


# Receipts


@pytest.mark.parametrize(
    "script",
    [
        lambda messages: [Receipt.sent("1"), Receipt.failed("no"), Receipt.sent("3")],
        lambda messages: (receipt for receipt in [Receipt.sent("1"), Receipt.failed("no"), Receipt.sent("3")]),
        lambda messages: [
            Receipt.sent("3", message=messages[2]),
            Receipt.failed("no", message=messages[1]),
            Receipt.sent("1", message=messages[0]),
        ],
        lambda messages: [Receipt.failed("no", message=messages[1]), Receipt.sent("1"), Receipt.sent("3")],
        lambda messages: [Receipt.sent("1"), Receipt.failed("no"), Receipt.sent("3"), Receipt.failed("one too many")],
        lambda messages: [
            Receipt.sent("1"), Receipt.failed("no"), Receipt.sent("3"), Receipt.retry(message=messages[0]),
        ],
    ],
    ids=["in order", "yielded", "named", "mixed", "too many", "the first answer counts"],
)  # fmt: skip
def test_each_receipt_settles_its_own_delivery(script, signals, scripted, fire, caplog, request) -> None:
    scripted.script = staticmethod(script)
    fire(value=1)
    signals.run()
    is_surplus = request.node.callspec.id in ("too many", "the first answer counts")
    assert ("gave 1 receipts too many for 3 messages" in caplog.text) == is_surplus
    assert [(row.status, row.provider_id, row.last_error) for row in rows()] == [
        ("sent", "1", ""),
        ("failed", "", "no"),
        ("sent", "3", ""),
    ]
    assert all(row.attempts == 1 and row.lease_token is None and row.not_before is None for row in rows())
    assert all(row.finished_at is not None for row in rows())


def test_a_receipt_about_a_message_that_was_not_given_is_left_out_and_logged(signals, scripted, fire, caplog) -> None:
    stranger = Message("x", id="stranger", address="1")
    scripted.script = staticmethod(
        lambda messages: [Receipt.failed("no", message=stranger), *(Receipt.sent() for _ in messages)]
    )
    fire()
    signals.run()
    assert statuses() == ["sent"] * 3
    assert "gave 1 receipts too many for 3 messages" in caplog.text


@pytest.mark.parametrize("answer", [lambda messages: None, lambda messages: []])
def test_what_is_left_unanswered_is_tried_again(answer, signals, scripted, fire) -> None:
    scripted.script = staticmethod(answer)
    fire()
    signals.run()
    assert statuses() == ["retry"] * 3
    assert {row.last_error for row in rows()} == {"The messenger gave no answer about this message."}


def test_one_forgotten_receipt_shifts_no_other(signals, scripted, fire) -> None:
    scripted.script = staticmethod(
        lambda messages: [Receipt.sent("1", message=messages[0]), Receipt.sent("3", message=messages[2])]
    )
    fire()
    signals.run()
    assert [(row.status, row.provider_id) for row in rows()] == [("sent", "1"), ("retry", ""), ("sent", "3")]


@pytest.mark.parametrize("nonsense", [7, "sent", True, None])
def test_nonsense_instead_of_a_receipt_is_a_retry_for_the_unanswered(nonsense, signals, scripted, fire) -> None:
    scripted.script = staticmethod(lambda messages: [Receipt.sent("1"), nonsense])
    fire()
    signals.run()
    assert statuses() == ["sent", "retry", "retry"]
    assert f"send_messages() answered with {type(nonsense).__name__};" in rows()[1].last_error


def test_raising_half_way_keeps_what_was_answered(signals, scripted, fire) -> None:
    def script(messages: Any) -> Any:
        yield Receipt.sent("1")
        raise ConnectionError("gone")

    scripted.script = staticmethod(script)
    fire()
    signals.run()
    assert statuses() == ["sent", "retry", "retry"]
    assert rows()[2].last_error.startswith("ConnectionError: gone (tests/sending/test_sending.py:")


def test_a_hundred_with_one_bad_address(signals, subscribe, fire) -> None:
    users = User.objects.bulk_create(User(username=f"u{n}", email=f"u{n}@example.org") for n in range(100))
    subscribe(users=users)
    MemoryMessenger.answer = staticmethod(
        lambda message: Receipt.invalid_address("no such box") if message.user.username == "u42" else Receipt.sent()
    )
    fire()
    signals.run()
    assert Counter(statuses()) == {"sent": 99, "failed": 1}
    assert Delivery.objects.get(status="failed").last_error == "no such box"


def test_after_lengthens_the_back_off_of_a_retry_and_never_shortens_it(signals, scripted, fire) -> None:
    scripted.script = staticmethod(
        lambda messages: [Receipt.retry(after=70, reason="429"), Receipt.retry(), Receipt.retry(after=0)]
    )
    fire()
    sending_one_batch(signals)
    first, second, third = rows()
    assert 68 < in_seconds(first) <= 70
    assert 13 < in_seconds(second) <= 30
    assert 13 < in_seconds(third) <= 30
    assert [waits.backoff(n) <= longest for n, longest in ((1, 30), (2, 60), (3, 120), (20, 3600))] == [True] * 4
    assert [waits.backoff(n) >= least for n, least in ((1, 15), (2, 30), (3, 60), (20, 1800))] == [True] * 4
    assert len({waits.backoff(5) for _ in range(20)}) > 1


@pytest.mark.parametrize("after", [0, -1, float("nan"), float("-inf")])
def test_a_provider_that_asks_for_no_wait_uses_up_one_attempt_at_a_time(signals, scripted, fire, after: float) -> None:
    scripted.script = staticmethod(lambda messages: [Receipt.retry(after=after, reason="503") for _ in messages])
    fire()
    for _ in range(20):
        sending_one_batch(signals)
    assert [(row.status, row.attempts) for row in rows()] == [("retry", 1)] * 3


def test_a_provider_that_asks_for_too_long_a_wait_is_asked_again_within_a_month(signals, scripted, fire) -> None:
    scripted.script = staticmethod(lambda messages: [Receipt.retry(after=1e300) for _ in messages])
    fire()
    sending_one_batch(signals)
    assert all(29 * 86_400 < in_seconds(row) <= 30 * 86_400 for row in rows())


def sending_one_batch(signals: Any) -> None:
    from dsn_core.fanout import expander

    expander.expand_due(outbox())
    sender.Sender("scripted", outbox()).work()


def test_after_all_its_attempts_it_is_failed(signals, scripted, fire, settings) -> None:
    settings.DSN = {"RUNNER": "worker", "MAX_ATTEMPTS": 3}
    scripted.script = staticmethod(lambda messages: [Receipt.retry(reason="500") for _ in messages])
    fire()
    for attempt in (1, 2):
        signals.run(retries=True)
        assert [(row.status, row.attempts) for row in rows()] == [("retry", attempt)] * 3
    signals.run(retries=True)
    assert [(row.status, row.attempts, row.not_before) for row in rows()] == [("failed", 3, None)] * 3
    assert rows()[0].last_error == "Given up after 3 attempts. The last one: 500"
    again()
    scripted.script = staticmethod(lambda messages: [Receipt.sent() for _ in messages])
    signals.run()
    assert statuses() == ["sent"] * 3


@pytest.mark.parametrize(("policy", "status"), [(False, "unknown"), (True, "retry")])
def test_unknown_follows_the_messengers_policy(policy, status, signals, scripted, fire) -> None:
    scripted.retry_unknown = policy
    scripted.script = staticmethod(lambda messages: [Receipt.unknown("timed out") for _ in messages])
    fire()
    signals.run()
    assert statuses() == [status] * 3
    assert rows()[0].last_error == "timed out"


def test_whatever_a_provider_says_it_can_be_stored(signals, scripted, fire) -> None:
    scripted.script = staticmethod(
        lambda messages: [
            Receipt.failed("nul \0 lone \ud800 " + "x" * 100_000),
            Receipt.sent("\ud800\0" + "y" * 1000),
            Receipt.retry(reason="\0" * 5000),
        ]
    )
    fire()
    signals.run()
    assert statuses() == ["failed", "sent", "retry"]
    assert rows()[0].last_error.startswith("nul  lone ? xx")
    assert len(rows()[0].last_error) <= 2000
    assert len(rows()[1].provider_id) <= 255


# Pauses


def test_a_pause_rests_the_whole_messenger_uses_up_no_attempt_and_stops_no_other(
    signals, scripted, subscribe, fire, people
) -> None:
    heard: list[dict[str, Any]] = []

    def listen(**kwargs: Any) -> None:
        heard.append(kwargs)
        raise RuntimeError("a receiver's own trouble")

    messenger_paused.connect(listen)
    subscribe("other", users=people[:1])
    scripted.batch_size = 2
    scripted.script = staticmethod(lambda messages: [Receipt.sent(), Receipt.pause(after=7, reason="429")])
    fire()
    try:
        signals.run()
    finally:
        messenger_paused.disconnect(listen)
    mine = [row for row in rows() if row.messenger == "scripted"]
    assert [(row.status, row.attempts) for row in mine] == [("sent", 1), ("retry", 0), ("pending", 0)]
    assert len(scripted.calls) == 1
    assert [row.status for row in rows() if row.messenger == "memory"] == ["sent"]
    state = MessengerState.objects.get(messenger="scripted")
    assert state.pause_reason == "429"
    assert [(item["messenger"], item["seconds"], item["reason"]) for item in heard] == [("scripted", 7, "429")]

    signals.run(retries=True)
    assert len(scripted.calls) == 1, "due or not, nobody calls it before the pause is over"
    MessengerState.objects.update(paused_until=DatabaseNow())
    scripted.script = staticmethod(lambda messages: [Receipt.sent() for _ in messages])
    signals.run(retries=True)
    assert [(row.status, row.attempts) for row in rows() if row.messenger == "scripted"] == [("sent", 1)] * 3


def test_a_pause_gives_back_what_was_not_answered_and_the_longest_counts(signals, scripted, fire) -> None:
    scripted.script = staticmethod(
        lambda messages: [Receipt.pause(after=5, reason="a"), Receipt.pause(after=60, reason="b")]
    )
    fire()
    signals.run()
    assert [(row.status, row.attempts, row.last_error) for row in rows()] == [
        ("retry", 0, "a"), ("retry", 0, "b"), ("pending", 0, ""),
    ]  # fmt: skip
    until = MessengerState.objects.get(messenger="scripted").paused_until
    last, first, rest = (row.not_before for row in rows())
    assert last == first >= until > rest + timedelta(seconds=50), "those that caused it go behind the rest"


def test_a_shorter_pause_does_not_end_a_longer_one(signals, scripted, fire) -> None:
    scripted.script = staticmethod(lambda messages: [Receipt.pause(after=600, reason="long") for _ in messages])
    fire()
    signals.run()
    before = MessengerState.objects.get(messenger="scripted").paused_until
    Delivery.objects.update(not_before=DatabaseNow())
    claimed = claim(Delivery.objects.all(), limit=10, status="sending")
    pacing.pause("scripted", Receipt.pause(after=1, reason="short"), claimed.clock, outbox())
    state = MessengerState.objects.get(messenger="scripted")
    assert (state.paused_until, state.pause_reason) == (before, "long")


# Batches


def test_batches_mix_events_and_their_number_of_queries_is_constant(signals, subscribe, fire, untimed) -> None:
    users = User.objects.bulk_create(User(username=f"u{n}") for n in range(90))
    subscribe(users=users)

    def cost(events: int) -> tuple[int, int]:
        from dsn_core.fanout import expander

        Delivery.objects.all().delete()
        for number in range(events):
            fire(value=number)
        expander.expand_due(outbox())
        if events > 1:
            Delivery.objects.filter(user_id__gt=users[9].pk).delete()
        with CaptureQueriesContext(connection) as queries:
            sent = sender.Sender("memory", outbox()).work().done
        return sent, len(queries)

    one = cost(1)
    many = cost(9)
    assert (one[0], many[0]) == (90, 90)
    assert one[1] == many[1]
    assert one[1] <= 14, "savepoints of the test's transaction included"
    assert len({message.text for message in signals.sent}) == 9


def test_batches_have_the_messengers_size(signals, scripted, fire) -> None:
    scripted.batch_size = 2
    scripted.script = staticmethod(lambda messages: [Receipt.sent() for _ in messages])
    fire()
    signals.run()
    assert [len(call) for call in scripted.calls] == [2, 1]


def test_a_batch_is_kept_while_a_slow_messenger_answers_one_by_one(signals, scripted, fire, settings) -> None:
    settings.DSN = {"RUNNER": "worker", "LEASE_SECONDS": 2.1}
    ends: list[Any] = []
    taken: list[Any] = []

    def script(messages: Any) -> Any:
        for _ in messages:
            time.sleep(0.75)
            ends.append(rows()[-1].not_before)
            yield Receipt.sent()
        taken.append(claim(Delivery.objects.all(), limit=10, status="sending"))

    scripted.script = staticmethod(script)
    fire()
    signals.run()
    assert ends[0] < ends[-1], "its lease began anew"
    assert taken == [None], "more than a lease later it is still ours"
    assert [(row.status, row.attempts) for row in rows()] == [("sent", 1)] * 3


def test_a_batch_is_kept_while_its_messages_are_rendered(signals, subscribe, fire, people, settings) -> None:
    settings.DSN = {"RUNNER": "worker", "LEASE_SECONDS": 2.1}
    ends: list[Any] = []
    taken: list[Any] = []

    def get_template_context(self: Any, context: dict[str, Any]) -> dict[str, Any]:
        time.sleep(0.75)
        ends.append(rows()[-1].not_before)
        if len(ends) == len(people):
            taken.append(claim(Delivery.objects.all(), limit=10, status="sending"))
        return context

    signals.add(type("Slow", (BaseMessageTemplate,), {"text": "x", "get_template_context": get_template_context}))
    subscribe(users=people, backends=[("memory", "Slow")])
    fire()
    signals.run()
    assert ends[0] < ends[-1], "its lease began anew"
    assert taken == [None], "more than a lease later it is still ours"
    assert [(row.status, row.attempts) for row in rows()] == [("sent", 1)] * 3


def test_messages_carry_receiver_content_and_a_stable_id(signals, scripted, fire, people) -> None:
    scripted.script = staticmethod(lambda messages: [Receipt.retry() for _ in messages])
    fire(value="x")
    signals.run()
    signals.run(retries=True)
    first, second = scripted.calls
    assert [message.id for message in first] == [message.id for message in second]
    assert len({message.id for message in first}) == 3
    assert [message.user for message in first] == people
    assert (first[0].subject, first[0].text, first[0].address) == ("Hello ann", "happened x", "")


def test_urgent_ones_go_first(signals, subscribe, fire, people) -> None:
    subscribe("low", users=people[:1], priority=2)
    subscribe("high", users=people[1:2], priority=0)
    subscribe("normal", users=people[2:])
    fire()
    signals.run()
    assert [message.user.username for message in signals.sent] == ["bob", "cyd", "ann"]


# What went wrong on the way


def test_one_template_that_fails_for_one_receiver_is_that_ones_failure(signals, subscribe, fire, people) -> None:
    def get_template_context(self: Any, context: dict[str, Any]) -> dict[str, Any]:
        context["share"] = 1 / (context["user"].username != "bob")
        return context

    signals.add(
        type("Share", (BaseMessageTemplate,), {"text": "{{ share }}", "get_template_context": get_template_context})
    )
    subscribe(users=people, backends=[("memory", "Share")])
    fire()
    signals.run()
    assert statuses() == ["sent", "failed", "sent"]
    assert rows()[1].last_error.startswith("Rendering 'Share' failed: ZeroDivisionError: division by zero (tests/")


def test_a_template_that_fails_for_all_holds_nothing_else_up(signals, subscribe, fire, people) -> None:
    signals.add(type("Broken", (BaseMessageTemplate,), {"text": "{% if %}"}))
    subscribe("bad", users=people, backends=[("memory", "Broken")])
    subscribe("good", users=people)
    fire()
    signals.run()
    assert Counter(statuses()) == {"failed": 3, "sent": 3}
    assert "is no valid Jinja2 at line 1" in rows()[0].last_error


def test_a_template_that_lost_the_database_is_tried_again(signals, subscribe, fire, people) -> None:
    from django.db import InterfaceError, OperationalError

    for number, error in enumerate((OperationalError("gone"), InterfaceError("closed"))):

        def get_template_context(self: Any, context: Any, error: Exception = error) -> Any:
            raise error

        name = f"Lost{number}"
        signals.add(type(name, (BaseMessageTemplate,), {"text": "x", "get_template_context": get_template_context}))
        subscribe(name, users=people[:1], backends=[("memory", name)])
    fire()
    signals.run()
    assert statuses() == ["retry", "retry"]


def test_what_was_deleted_meanwhile_ends_with_a_reason(signals, subscribe, fire, people) -> None:
    from dsn_core.fanout import expander

    subscribe("a", users=people[:1])
    subscribe("b", users=people[1:2], backends=[("memory", "simple")])
    subscribe("c", target="t", users=people[2:], backends=[("console", "simple")])
    fire(target="t")
    expander.expand_due(outbox())
    User.objects.filter(username="ann").delete()
    Backend.objects.filter(messenger="memory", message_template="simple").delete()
    Event.objects.filter(trigger__target="t")._raw_delete(outbox())
    signals.run()
    assert sorted((row.status, row.last_error) for row in rows()) == [
        ("failed", "Its backend was deleted before it was sent. Subscribe another, for what happens from then on."),
        ("failed", "Its event was purged before it was sent: nothing is left to send."),
        ("skipped", "The user was deleted."),
    ]


def test_an_unreadable_payload_fails_its_deliveries_alone(signals, subscribe, fire, people) -> None:
    subscribe(users=people[:1])
    fire(value=1)
    fire(value=2)
    event = Event.objects.earliest("id")
    Event.objects.filter(pk=event.pk).update(payload='{"kwargs": {"x": {"$": "instance", "model": "gone.model"}}}')
    signals.run()
    assert statuses() == ["failed", "sent"]
    assert "'gone.model'" in rows()[0].last_error


# Filters and addresses


def test_filters_exclude_with_their_reason(signals, subscribe, fire, people) -> None:
    class NoBob(BaseReceiverFilter):
        def exclude(self, deliveries: Any) -> Any:
            return {row.pk: "unsubscribed" for row in deliveries if row.user and row.user.username == "bob"}

    signals.add(NoBob)
    subscribe(users=people, addresses=[("memory", "a@b.c")])
    User.objects.filter(username="cyd").update(is_active=False)
    fire()
    signals.run()
    assert [(row.status, row.last_error) for row in rows()] == [
        ("sent", ""),
        ("skipped", "unsubscribed"),
        ("skipped", "The user's account is not active."),
        ("sent", ""),
    ]


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (lambda: 1 / 0, "ZeroDivisionError"),
        (lambda: None, "ContractError: exclude() returned NoneType; it returns {delivery.pk: reason}, and an empty"),
        (lambda: ["a"], "ContractError: exclude() returned list; it returns {delivery.pk: reason}"),
    ],
)
def test_a_filter_that_fails_lets_no_message_through(trouble, said, signals, subscribe, fire, people) -> None:
    signals.add(type("Bad", (BaseReceiverFilter,), {"exclude": lambda self, deliveries: trouble()}))
    subscribe(users=people)
    fire()
    signals.run()
    assert statuses() == ["retry"] * 3
    assert rows()[0].last_error.startswith(f"The receiver filter 'Bad' failed: {said}")
    assert signals.sent == []


class Phone(MemoryMessenger):
    name = "phone"
    address_path = "profile.phone"


def test_addresses_come_from_a_path_and_users_without_one_are_skipped(
    signals, subscribe, fire, people, settings
) -> None:
    signals.add(Phone)
    Profile.objects.create(user=people[0], phone="+1", language="de")
    Profile.objects.create(user=people[1], phone="")
    subscribe(users=people, backends=[("phone", "plain")])
    fire()
    signals.run()
    assert [(row.status, row.address, row.last_error) for row in rows()] == [
        ("sent", "+1", ""),
        ("skipped", "", "The user has no address for phone."),
        ("skipped", "", "The user has no address for phone."),
    ]
    assert signals.sent[0].address == "+1"

    settings.DSN = {"RUNNER": "worker", "ADDRESSES": {"phone": "email"}}
    fire()
    signals.run()
    assert [message.address for message in signals.sent[1:]] == [user.email for user in people]

    settings.DSN = {"RUNNER": "worker", "ADDRESSES": {"phone": "no.such.path"}}
    fire()
    signals.run()
    assert (rows()[-1].status, rows()[-1].attempts) == ("retry", 0)
    assert "'no.such.path' cannot be followed" in rows()[-1].last_error


def test_a_user_without_the_key_that_a_path_names_fails_no_other(
    signals, subscribe, fire, people, settings, monkeypatch
) -> None:
    preferences = {"ann": {"phone": "+1", "language": "de"}, "bob": {}, "cyd": {"phone": "+3"}}
    monkeypatch.setattr(User, "preferences", property(lambda user: preferences[user.username]), raising=False)
    settings.DSN = {
        "RUNNER": "worker", "ADDRESSES": {"phone": "preferences.phone"}, "LANGUAGE_PATH": "preferences.language",
    }  # fmt: skip
    signals.add(Phone, type("Yes", (BaseMessageTemplate,), {"text": "{{ _('Yes') }}"}))
    subscribe(users=people, backends=[("phone", "Yes")])
    fire()
    signals.run()
    assert [(row.status, row.address, row.last_error) for row in rows()] == [
        ("sent", "+1", ""),
        ("skipped", "", "The user has no address for phone."),
        ("sent", "+3", ""),
    ]
    assert [message.text for message in signals.sent] == ["Ja", "Yes"]


def test_paths_from_the_user_cost_no_query_per_user(signals, subscribe, fire, settings, untimed) -> None:
    settings.DSN = {"RUNNER": "worker", "LANGUAGE_PATH": "profile.language", "TIME_ZONE_PATH": "profile.time_zone"}
    signals.add(Phone)
    users = User.objects.bulk_create(User(username=f"u{n}") for n in range(60))
    Profile.objects.bulk_create(Profile(user=user, phone=f"+{n}", language="de") for n, user in enumerate(users[:40]))
    subscription = subscribe(users=users[:2], backends=[("phone", "plain")])

    def cost() -> int:
        from dsn_core.fanout import expander

        fire()
        expander.expand_due(outbox())
        with CaptureQueriesContext(connection) as queries:
            sender.Sender("phone", outbox()).work()
        return len(queries)

    few = cost()
    subscription.users.set(users)
    assert cost() == few


@pytest.mark.parametrize("given", [lambda: 1 / 0, lambda: None, lambda: 7])
def test_addresses_that_cannot_be_found_are_tried_again(given, signals, subscribe, fire, people) -> None:
    signals.add(type("Lookup", (MemoryMessenger,), {"name": "lookup", "addresses": lambda self, users: given()}))
    subscribe(users=people, backends=[("lookup", "plain")])
    fire()
    signals.run()
    assert statuses() == ["retry"] * 3
    assert rows()[0].last_error.startswith("The addresses of the users could not be found: ")


def test_a_long_address_is_used_whole_and_kept_cut(signals, subscribe, fire, people) -> None:
    long = "https://push.example/" + "x" * 900
    cls = type(
        "Push", (MemoryMessenger,), {"name": "push", "addresses": lambda self, users: {user.pk: long for user in users}}
    )
    signals.add(cls)
    subscribe(users=people[:1], backends=[("push", "plain")])
    fire()
    signals.run()
    assert (statuses(), signals.sent[0].address, rows()[0].address) == (["sent"], long, long[:500])


def test_the_receivers_language_and_time_zone_and_never_the_senders(signals, subscribe, fire, people, settings) -> None:
    from datetime import UTC, datetime

    from django.utils import timezone, translation

    settings.DSN = {"RUNNER": "worker", "LANGUAGE_PATH": "profile.language", "TIME_ZONE_PATH": "profile.time_zone"}
    Profile.objects.create(user=people[0], language="de-at", time_zone="Europe/Berlin")
    Profile.objects.create(user=people[1], language="tlh/../..", time_zone="Mars/Olympus")
    signals.add(type("When", (BaseMessageTemplate,), {"text": "{{ _('Yes') }} {{ at }}"}))
    subscribe(users=people, addresses=[("memory", "a@b.c")], backends=[("memory", "When")])
    with translation.override("fr"), timezone.override("Asia/Tokyo"):
        fire(at=datetime(2026, 7, 1, 22, 30, tzinfo=UTC))
        signals.run()
        assert translation.get_language() == "fr"
        assert timezone.get_current_timezone_name() == "Asia/Tokyo"
    english = "Yes July 1, 2026, 10:30 p.m."
    assert [message.text for message in signals.sent] == ["Ja 2. Juli 2026 00:30", english, english, english]


# Secrets


def test_a_secret_shows_in_no_row_and_no_log(signals, scripted, fire, caplog) -> None:
    caplog.set_level(logging.DEBUG)

    def script(messages: Any) -> Any:
        yield Receipt.failed(f"POST https://api/bot{CANARY}/send")
        yield Receipt.pause(after=1, reason=f"429 for {CANARY}")
        raise ConnectionError(f"https://api/bot{CANARY}/send timed out")

    scripted.script = staticmethod(script)
    fire()
    signals.run()
    assert statuses() == ["failed", "retry", "retry"]
    stored = "".join(row.last_error for row in rows()) + MessengerState.objects.get(messenger="scripted").pause_reason
    assert "***" in stored
    assert CANARY not in stored
    assert "The messenger scripted raised ConnectionError" in caplog.text
    assert CANARY not in caplog.text


def test_a_messenger_that_raises_stops_no_other(signals, scripted, subscribe, fire, people) -> None:
    scripted.script = staticmethod(lambda messages: 1 / 0)
    subscribe("other", users=people)
    fire()
    signals.run()
    assert Counter((row.messenger, row.status) for row in rows()) == {("scripted", "retry"): 3, ("memory", "sent"): 3}


def test_trouble_of_our_own_is_written_down_too(signals, subscribe, fire, people, monkeypatch) -> None:
    monkeypatch.setattr(sender.Batch, "load_backends", lambda self: 1 / 0)
    subscribe(users=people)
    fire()
    signals.run()
    assert statuses() == ["retry"] * 3
    assert rows()[0].last_error.startswith("Its batch broke off: ZeroDivisionError: division by zero (tests/sending")


# Settling


def test_settling_is_refused_when_another_worker_took_over(signals, subscribe, fire, people, caplog) -> None:
    from dsn_core.fanout import expander

    finished: list[int] = []

    def listen(delivery: Delivery, **kwargs: Any) -> None:
        finished.append(delivery.pk)

    subscribe(users=people)
    fire()
    expander.expand_due(outbox())
    ours = claim(Delivery.objects.all(), limit=10, status="sending")
    assert [row.attempts for row in rows()] == [1, 1, 1], "counted when claimed"
    taken = rows()[1]
    Delivery.objects.filter(pk=taken.pk).update(not_before=DatabaseNow())
    theirs = claim(Delivery.objects.all(), limit=10, status="sending")
    assert [row.pk for row in theirs.rows] == [taken.pk]
    delivery_finished.connect(listen)
    try:
        verdicts = {row.pk: Verdict("sent", provider_id="ours") for row in ours.rows}
        assert settle(ours.rows, ours, verdicts, outbox()) == 2
    finally:
        delivery_finished.disconnect(listen)
    assert [(row.status, row.provider_id) for row in rows()] == [("sent", "ours"), ("sending", ""), ("sent", "ours")]
    assert finished == [rows()[0].pk, rows()[2].pk]
    assert "1 of 3 deliveries were taken over by another worker" in caplog.text
    assert settle(theirs.rows, theirs, {taken.pk: Verdict("failed", "theirs")}, outbox()) == 1
    assert rows()[1].last_error == "theirs"


def test_finished_deliveries_are_told_and_a_receiver_that_raises_breaks_nothing(signals, scripted, fire) -> None:
    told: list[tuple[str, str]] = []

    def listen(delivery: Delivery, **kwargs: Any) -> None:
        told.append((delivery.status, delivery.last_error))
        raise RuntimeError("a receiver's own trouble")

    scripted.script = staticmethod(lambda messages: [Receipt.sent(), Receipt.failed("no"), Receipt.retry()])
    delivery_finished.connect(listen)
    try:
        fire()
        signals.run()
    finally:
        delivery_finished.disconnect(listen)
    assert told == [("sent", ""), ("failed", "no")]
    assert statuses() == ["sent", "failed", "retry"]


def test_an_illegal_change_of_status_is_a_bug_that_shows(signals, subscribe, fire, people) -> None:
    from dsn_core.fanout import expander

    subscribe(users=people[:1])
    fire()
    expander.expand_due(outbox())
    claimed = claim(Delivery.objects.all(), limit=10, status="sending")
    with pytest.raises(AssertionError, match="cannot go from"):
        settle(claimed.rows[:1], claimed, {claimed.rows[0].pk: Verdict("cancelled")}, outbox())


def test_more_rows_than_one_statement_takes_are_settled(signals, subscribe, fire) -> None:
    users = User.objects.bulk_create(User(username=f"u{n}") for n in range(1_300))

    class Everyone(BaseMessenger):
        name = "at_once"

        def send(self, template: Any, users: Any) -> None:
            for user in users:
                template.render(user)

    signals.add(Everyone)
    subscribe(users=users, backends=[("at_once", "plain")])
    fire()
    assert signals.run().deliveries == 1_300
    assert set(Delivery.objects.values_list("status", flat=True)) == {"sent"}


def test_a_row_that_ends_its_workers_is_failed_at_last_and_alone(
    signals, scripted, fire, settings, monkeypatch
) -> None:
    settings.DSN = {"RUNNER": "worker", "MAX_ATTEMPTS": 4}
    # A process that is killed settles nothing.
    monkeypatch.setattr(sender.Sender, "_settle_at_once", lambda self, batch, interrupt: None)

    def script(messages: Any) -> Any:
        if any(message.user.username == "bob" for message in messages):
            raise KeyboardInterrupt
        return [Receipt.sent() for _ in messages]

    scripted.script = staticmethod(script)
    fire()
    for _ in range(15):
        try:
            signals.run()
        except KeyboardInterrupt:
            Delivery.objects.filter(status="sending").update(not_before=DatabaseNow())
    assert statuses() == ["sent", "failed", "sent"]
    assert rows()[1].last_error.startswith("Given up after 4 attempts. The worker of the last one ended")


def test_signals_fired_by_plugins_while_sending_are_one_deeper(signals, subscribe, fire, people) -> None:
    class Chatty(BaseReceiverFilter):
        def exclude(self, deliveries: Any) -> Any:
            fire(value="from a filter")
            return {}

    def listen(delivery: Delivery, **kwargs: Any) -> None:
        fire(value="from a receiver of ours")

    signals.add(Chatty)
    subscribe(users=people[:1])
    delivery_finished.connect(listen)
    try:
        fire(value="first")
        signals.run()
    finally:
        delivery_finished.disconnect(listen)
    assert set(Event.objects.values_list("depth", flat=True)) == {0, 1, 2, 3}, "and no deeper: the loop ends"
    assert len(signals.sent) == Event.objects.count()


def test_a_listener_finds_all_that_the_row_says(signals, subscribe, fire, people) -> None:
    """Also the columns that sending itself does not read."""
    heard: list[tuple[Any, ...]] = []

    def listen(delivery: Delivery, **kwargs: Any) -> None:
        heard.append(tuple(getattr(delivery, field.attname) for field in Delivery._meta.concrete_fields))

    subscribe(users=people[:1])
    fire(value=1)
    delivery_finished.connect(listen, sender=Delivery)
    try:
        signals.run()
    finally:
        delivery_finished.disconnect(listen, sender=Delivery)
    assert heard == list(Delivery.objects.values_list(*(field.attname for field in Delivery._meta.concrete_fields)))


# Stopping in the middle


class Concurrent(BaseMessenger):
    """Has two messages under way at any time."""

    name = "concurrent"
    concurrent = True
    begun: list[str] = []

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.stopping = False

    def stop(self) -> None:
        self.stopping = True

    def send_messages(self, messages: Any) -> Any:
        waiting, under_way = list(messages), []
        while waiting or under_way:
            while waiting and len(under_way) < 2 and not self.stopping:
                under_way.append(waiting.pop(0))
                self.begun.append(under_way[-1].id)
            if not under_way:
                return
            yield Receipt.sent(message=under_way.pop(0))


def test_a_messenger_that_is_told_to_stop_answers_for_what_is_under_way(signals, subscribe, fire, people) -> None:
    from dsn_core.fanout import expander

    cls = type("Mine", (Concurrent,), {"name": "concurrent", "begun": []})
    signals.add(cls)
    subscribe(users=people, backends=[("concurrent", "plain")])
    fire()
    expander.expand_due(outbox())
    sender.Sender("concurrent", outbox(), lambda: len(cls.begun) == 2).work()
    assert statuses() == ["sent", "sent", "pending"]
    assert [row.attempts for row in rows()] == [1, 1, 0]
    assert {row.message_id for row in rows()[:2]} == set(cls.begun)


def test_connections_are_the_worker_s_or_those_of_a_concurrent_messenger(signals, settings) -> None:
    signals.add(type("Mine", (Concurrent,), {"name": "concurrent"}))
    signals.add(type("Plain", (MemoryMessenger,), {"name": "plain_one"}))
    names = ("concurrent", "plain_one", "second")
    account = {"MESSENGER": "plain_one", "CONNECTIONS": 7}
    settings.DSN = {
        **settings.DSN,
        "MESSENGERS": {"concurrent": {"CONNECTIONS": 5}, "plain_one": {"CONNECTIONS": 5}, "second": account},
    }
    assert [sender.threads_of(name) for name in names] == [(2, 1), (5, 5), (7, 7)]
    # One whose options cannot be read has a thread that says so.
    settings.DSN = {**settings.DSN, "MESSENGERS": {"plain_one": {"LANES": 5}}}
    assert sender.threads_of("plain_one") == (1, 1)
    assert registry.messenger_findings("plain_one") == ["LANES is called CONNECTIONS now"]


def test_a_messenger_that_empties_its_list_sends_each_once(signals, subscribe, fire, people) -> None:
    sent: list[str] = []

    def send_messages(self: Any, messages: list[Message]) -> Any:
        while messages:
            message = messages.pop()
            sent.append(message.id)
            yield Receipt.sent(message=message)

    signals.add(type("Popping", (MemoryMessenger,), {"name": "popping", "send_messages": send_messages}))
    subscribe(users=people, backends=[("popping", "plain")])
    fire()
    signals.run()
    assert statuses() == ["sent"] * 3
    assert len(sent) == len(set(sent)) == 3


@pytest.mark.parametrize("given", [None, 5, ["a"]])
def test_a_template_that_renders_no_text_fails(given, signals, subscribe, fire, people) -> None:
    rendering = type("Odd", (BaseMessageTemplate,), {"name": "odd", "text": "x", "render": lambda self, *args: given})
    signals.add(rendering)
    subscribe(users=people[:1], backends=[("memory", "odd")])
    fire()
    signals.run()
    assert statuses() == ["failed"]
    assert f"render() returned {type(given).__name__}; it returns a Message" in rows()[0].last_error


def excluding(answer: Any) -> type[BaseReceiverFilter]:
    return type("Odd", (BaseReceiverFilter,), {"name": "odd", "exclude": lambda self, deliveries: answer(deliveries)})


@pytest.mark.parametrize(
    "key", [lambda row: row, lambda row: str(row.pk), lambda row: -1], ids=["row", "text", "other"]
)
def test_a_filter_that_names_what_is_no_delivery_holds_its_batch_back(key, signals, subscribe, fire, people) -> None:
    signals.add(excluding(lambda rows: {key(row): "out" for row in rows}))
    subscribe(users=people)
    fire()
    signals.run()
    assert statuses() == ["retry"] * 3
    assert "that are no deliveries of the batch" in rows()[0].last_error


def test_a_filter_that_empties_its_list_changes_nothing(signals, subscribe, fire, people) -> None:
    signals.add(excluding(lambda rows: {rows[0].pk: "", **dict.fromkeys([], rows.clear())}))
    subscribe(users=people)
    fire()
    signals.run()
    assert sorted(statuses()) == ["sent", "sent", "skipped"]
    assert "Excluded by the receiver filter 'odd'." in {row.last_error for row in rows()}


def test_an_error_that_cannot_say_what_it_is_is_tried_again(signals, subscribe, fire, people) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError("no text")

    def send_messages(self: Any, messages: list[Message]) -> Any:
        raise Mute

    signals.add(type("Raising", (MemoryMessenger,), {"name": "raising", "send_messages": send_messages}))
    subscribe(users=people[:1], backends=[("raising", "plain")])
    fire()
    signals.run()
    assert statuses() == ["retry"]
    assert "Mute: its text cannot be made" in rows()[0].last_error


@pytest.mark.parametrize(
    ("batches", "seconds", "then"),
    [(1, 0.01, 2), (4, 0.0, 8), (8, 0.01, 10), (10, 0.25, 10), (10, 0.5, 5), (10, 0.375, 6), (8, 30, 1), (1, 30, 1)],
)
def test_a_claim_is_as_large_as_the_time_that_the_last_one_took_allows(batches, seconds, then) -> None:
    assert sender._batches_after(batches, seconds) == then
