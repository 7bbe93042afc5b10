"""The seed's way: messengers that override ``send``."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections, transaction
from django.dispatch import Signal

from dsn_core import BaseMessenger, Message, SignalRegistration
from dsn_core.fanout import expander
from dsn_core.intake.record import outbox
from dsn_core.models import Delivery, Event, Trigger
from dsn_core.models.clock import DatabaseNow
from dsn_core.queue.claiming import claim
from dsn_core.sending import legacy_send, sender
from tests.testapp.models import Movie

pytestmark = pytest.mark.django_db

notify_audiences = Signal()


def rows() -> list[Delivery]:
    return list(Delivery.objects.order_by("id"))


def summary() -> list[tuple[Any, str]]:
    names = dict(User.objects.values_list("pk", "username"))
    return [(names.get(row.user_id), row.status) for row in rows()]


class Recorder(BaseMessenger):
    """Remembers its calls, renders for whom the test says."""

    name = "recorder"
    calls: list[dict[str, Any]] = []
    chosen: Any = staticmethod(lambda users: users)
    after: Any = staticmethod(lambda rendered: None)

    def send(self, template, sender, users, trigger_context, signal_kwargs) -> None:
        type(self).calls.append({"sender": sender, "users": list(users), "context": trigger_context, **signal_kwargs})
        rendered: list[Message] = []
        for user in type(self).chosen(users):
            rendered.append(template.render(user=user, trigger_context=trigger_context, signal_kwargs=signal_kwargs))
            type(self).after(rendered)


@pytest.fixture
def recorder(signals: Any) -> type[Recorder]:
    cls = type("Recorder1", (Recorder,), {"name": "recorder", "calls": []})
    signals.add(cls)
    return cls


BACKENDS = [("recorder", "plain")]


def test_called_once_with_all_users_and_with_the_arguments_that_it_takes(
    signals, recorder, subscribe, fire, people
) -> None:
    subscribe("a", users=people[:2], backends=BACKENDS)
    subscribe("b", users=people[1:], backends=BACKENDS)
    fire(value="x")
    signals.run()
    (call,) = recorder.calls
    assert call["users"] == people
    assert (call["value"], call["context"]["verb"], call["sender"]) == ("x", "happened", None)
    assert summary() == [("ann", "sent"), ("bob", "sent"), ("cyd", "sent")]


@pytest.mark.parametrize("kind", ["class", "instance", "static"])
def test_the_seeds_simple_messenger_in_every_form(kind, signals, subscribe, fire, people) -> None:
    sent: list[str] = []

    def deliver(template: Any, users: Any, trigger_context: Any, signal_kwargs: Any) -> None:
        for user in users:
            sent.append(template.render(user=user, trigger_context=trigger_context, signal_kwargs=signal_kwargs))

    def bound(self: Any, template: Any, users: Any, trigger_context: Any, signal_kwargs: Any) -> None:
        deliver(template, users, trigger_context, signal_kwargs)

    send = {"class": classmethod(bound), "instance": bound, "static": staticmethod(deliver)}[kind]
    signals.add(type("simple_Messenger", (BaseMessenger,), {"send": send}))
    subscribe(users=people, backends=[("simple_Messenger", "plain")])
    fire(value=1)
    signals.run()
    assert sent == ["happened 1"] * 3
    assert summary() == [("ann", "sent"), ("bob", "sent"), ("cyd", "sent")]


def test_without_users_it_is_called_once(signals, recorder, subscribe, fire) -> None:
    subscribe(backends=BACKENDS)
    fire()
    signals.run()
    signals.run(retries=True)
    assert [call["users"] for call in recorder.calls] == [[]]
    (row,) = rows()
    assert (row.user_id, row.address, row.status) == (None, "", "skipped")
    assert row.last_error == "It carried the call: the messenger chose its receivers itself."


def test_the_seeds_dynamic_users_get_their_deliveries(signals, recorder, people) -> None:
    signals.add(SignalRegistration("notify_audiences", notify_audiences, provides=["movie"]))
    movie = Movie.objects.create(name="Brazil")
    movie.audiences.set(people[1:])
    recorder.chosen = staticmethod(lambda users: movie.audiences.order_by("pk"))
    Trigger.objects.define("notify_audiences").subscribe(users=people[:1], backends=BACKENDS)
    notify_audiences.send(sender=Movie, movie=movie)
    signals.run()
    assert recorder.calls[0]["movie"] == movie
    assert recorder.calls[0]["sender"] is Movie
    assert summary() == [("ann", "skipped"), ("bob", "sent"), ("cyd", "sent")]
    assert rows()[0].last_error == "The messenger rendered no message for this receiver."
    assert [(row.attempts, row.messenger, row.not_before) for row in rows()[1:]] == [(1, "recorder", None)] * 2


def test_raising_half_way_leaves_the_rendered_ones_unknown_and_the_others_for_later(
    signals, recorder, subscribe, fire, people
) -> None:
    def after(rendered: list[Message]) -> None:
        if len(rendered) == 2 and len(recorder.calls) == 1:
            raise ConnectionError("gone")

    recorder.after = staticmethod(after)
    subscribe(users=people, backends=BACKENDS)
    fire()
    signals.run()
    assert [row.status for row in rows()] == ["unknown", "unknown", "retry"]
    assert all(row.last_error.startswith("ConnectionError: gone (tests/sending/test_legacy_send.py:") for row in rows())
    signals.run(retries=True)
    assert recorder.calls[1]["users"] == people[2:]
    assert [row.status for row in rows()] == ["unknown", "unknown", "sent"]


def test_dynamic_users_of_a_call_that_raised_are_unknown(signals, recorder, subscribe, fire, people) -> None:
    def after(rendered: list[Message]) -> None:
        raise ConnectionError("gone")

    recorder.chosen = staticmethod(lambda users: people)
    recorder.after = staticmethod(after)
    subscribe(backends=BACKENDS)
    fire()
    signals.run()
    assert summary() == [(None, "unknown"), ("ann", "unknown")]
    signals.run(retries=True)
    assert len(recorder.calls) == 1, "it would choose, and reach, them again"


def test_a_call_that_rendered_for_no_user_before_it_raised_is_made_again(
    signals, recorder, subscribe, fire, people
) -> None:
    def choose(users: Any) -> Any:
        if len(recorder.calls) == 1:
            raise ConnectionError("gone")
        return people[:1]

    recorder.chosen = staticmethod(choose)
    subscribe(backends=BACKENDS)
    fire()
    signals.run()
    assert summary() == [(None, "retry")]
    signals.run(retries=True)
    assert summary() == [(None, "skipped"), ("ann", "sent")]


def test_after_an_error_all_users_of_the_call_are_due_at_one_moment(signals, recorder, subscribe, fire) -> None:
    def choose(users: Any) -> Any:
        if len(recorder.calls) == 1:
            raise ConnectionError("gone")
        return users

    users = User.objects.bulk_create(User(username=f"u{n}") for n in range(20))
    recorder.chosen = staticmethod(choose)
    subscribe(users=users, backends=BACKENDS)
    fire()
    signals.run()
    assert set(Delivery.objects.values_list("status", flat=True)) == {"retry"}
    assert Delivery.objects.values("not_before").distinct().count() == 1
    signals.run(retries=True)
    assert [len(call["users"]) for call in recorder.calls] == [20, 20]


def test_retry_leaves_a_carrier_that_did_its_work_alone(signals, recorder, subscribe, fire, people) -> None:
    recorder.chosen = staticmethod(lambda users: people)
    subscribe(backends=BACKENDS)
    fire()
    signals.run()
    before = [(None, "skipped"), ("ann", "sent"), ("bob", "sent"), ("cyd", "sent")]
    assert summary() == before
    assert Delivery.objects.retry() == 0
    signals.run()
    assert (len(recorder.calls), summary()) == (1, before)


def test_retry_makes_a_carriers_failed_call_again(signals, recorder, subscribe, fire, people) -> None:
    from dsn_core.models import Backend

    recorder.chosen = staticmethod(lambda users: people[:1])
    subscribe(backends=BACKENDS)
    fire()
    Backend.objects.update(message_template="gone")
    signals.run()
    Delivery.objects.update(held_since=DatabaseNow() - timedelta(days=2))
    signals.run(retries=True)
    assert summary() == [(None, "failed")]
    Backend.objects.update(message_template="plain")
    assert Delivery.objects.retry() == 1
    signals.run()
    assert summary() == [(None, "skipped"), ("ann", "sent")]


def test_a_call_is_kept_while_the_messenger_renders(signals, recorder, subscribe, fire, people, settings) -> None:
    settings.DSN = {"RUNNER": "worker", "LEASE_SECONDS": 2.1}
    ends: list[Any] = []
    taken: list[Any] = []

    def after(rendered: list[Message]) -> None:
        time.sleep(0.75)
        ends.append(rows()[-1].not_before)
        if len(rendered) == len(people):
            taken.append(claim(Delivery.objects.all(), limit=10, status="sending"))

    recorder.after = staticmethod(after)
    subscribe(users=people, backends=BACKENDS)
    fire()
    signals.run()
    assert ends[0] < ends[-1], "its lease began anew"
    assert taken == [None], "more than a lease later it is still ours"
    assert [(row.status, row.attempts) for row in rows()] == [("sent", 1)] * 3


def test_retry_unknown_makes_a_retry_of_the_rendered_ones(signals, recorder, subscribe, fire, people) -> None:
    def after(rendered: list[Message]) -> None:
        raise ConnectionError("gone")

    recorder.after = staticmethod(after)
    recorder.retry_unknown = True
    subscribe(users=people, backends=BACKENDS)
    fire()
    signals.run()
    assert summary() == [("ann", "retry"), ("bob", "retry"), ("cyd", "retry")]


@pytest.mark.parametrize(("size", "calls"), [(1, [1, 1, 1]), (2, [2, 1]), (100, [3])])
def test_a_class_that_sets_batch_size_is_called_in_batches(
    size, calls, signals, recorder, subscribe, fire, people
) -> None:
    recorder.batch_size = size
    subscribe(users=people, backends=BACKENDS)
    fire()
    signals.run()
    assert [len(call["users"]) for call in recorder.calls] == calls


def test_batch_size_100_is_a_limit_and_the_default_is_none(signals, recorder, subscribe, fire) -> None:
    users = User.objects.bulk_create(User(username=f"u{n}") for n in range(150))
    subscribe(users=users, backends=BACKENDS)
    fire()
    signals.run()
    recorder.batch_size = 100
    fire()
    signals.run()
    assert [len(call["users"]) for call in recorder.calls] == [150, 100, 50]


def test_bare_addresses_are_skipped_and_the_call_is_made(signals, recorder, subscribe, fire) -> None:
    subscribe(backends=BACKENDS, addresses=[("recorder", "a@b.c")])
    fire()
    signals.run()
    assert [call["users"] for call in recorder.calls] == [[]]
    assert {(row.address, row.status) for row in rows()} == {("a@b.c", "skipped"), ("", "skipped")}
    assert rows()[0].last_error == "recorder chooses among users; it takes no bare address."


def test_rendering_for_no_user_counts_for_the_call(signals, recorder, subscribe, fire) -> None:
    recorder.chosen = staticmethod(lambda users: [None])
    subscribe(backends=BACKENDS)
    fire()
    signals.run()
    assert [(row.user_id, row.status) for row in rows()] == [(None, "sent")]


def test_when_all_its_users_are_excluded_the_call_is_made_all_the_same(
    signals, recorder, subscribe, fire, people
) -> None:
    User.objects.filter(username="ann").update(is_active=False)
    recorder.chosen = staticmethod(lambda users: people[1:])
    subscribe(users=people[:1], backends=BACKENDS)
    fire()
    signals.run()
    assert [call["users"] for call in recorder.calls] == [[]]
    assert summary() == [("ann", "skipped"), (None, "skipped"), ("bob", "sent"), ("cyd", "sent")]


def test_a_call_that_rendered_for_a_user_is_not_made_again_without_users(
    signals, recorder, subscribe, fire, people
) -> None:
    def after(rendered: list[Message]) -> None:
        raise ConnectionError("gone")

    recorder.chosen = staticmethod(lambda users: people[1:])
    recorder.after = staticmethod(after)
    subscribe(users=people[:1], backends=BACKENDS)
    fire()
    signals.run()
    assert summary() == [("ann", "retry"), ("bob", "unknown")]
    User.objects.filter(username="ann").update(is_active=False)
    signals.run(retries=True)
    assert len(recorder.calls) == 1
    assert summary() == [("ann", "skipped"), ("bob", "unknown")]


def test_an_event_that_is_still_expanded_waits(signals, recorder, subscribe, fire, people) -> None:
    subscribe(users=people, backends=BACKENDS)
    fire()
    expander.expand_due(outbox())
    Event.objects.update(status="expanding")
    assert sender.Sender("recorder", outbox()).work().done == 0
    Event.objects.update(status="expanded")
    assert sender.Sender("recorder", outbox()).work().done == 3


@pytest.mark.django_db(transaction=True)
def test_a_second_worker_takes_none_of_the_users_of_a_claimed_call(signals, recorder, subscribe, fire, people) -> None:
    if not connection.features.has_select_for_update_skip_locked:
        pytest.skip("the second one waits until the first has taken all")
    subscribe(users=people, backends=BACKENDS)
    fire()
    expander.expand_due(outbox())
    found: list[Any] = []

    def work() -> None:
        try:
            found.append(legacy_send.LegacyWay.claim(recorder(), "default", 100, []))
        finally:
            connections.close_all()

    first_only = type("First", (Recorder,), {"batch_size": 1})
    with transaction.atomic():
        # Half of the work of a claim: the row of one user is locked, those of the others are not.
        taken = legacy_send.LegacyWay.claim(first_only("recorder"), "default", 100, [])
        assert len(taken.rows) == 1
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(20)
    assert found == [None]


@pytest.mark.django_db(transaction=True)
def test_workers_side_by_side_never_split_a_call(signals, recorder, subscribe, fire) -> None:
    users = User.objects.bulk_create(User(username=f"u{n}") for n in range(400))
    subscribe(users=users, backends=BACKENDS)
    for _ in range(4):
        fire()
    expander.expand_due(outbox())
    start = threading.Barrier(3)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            start.wait()
            while sender.Sender("recorder", outbox()).work().done:
                pass
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    recorder.chosen = staticmethod(lambda users: [])
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    signals.run()
    assert [len(call["users"]) for call in recorder.calls] == [400] * 4
    assert set(Delivery.objects.values_list("status", "attempts")) == {("skipped", 1)}


def test_messages_know_their_receiver_and_keep_their_id(signals, recorder, subscribe, fire, people) -> None:
    seen: list[tuple[str, str]] = []

    def after(rendered: list[Message]) -> None:
        seen.append((rendered[-1].user.username, rendered[-1].id))
        if len(seen) in (2, 4):
            raise ConnectionError("gone")

    recorder.retry_unknown = True
    recorder.chosen = staticmethod(lambda users: people[:2])
    recorder.after = staticmethod(after)
    subscribe(users=people[:1], backends=BACKENDS)
    fire()
    signals.run()
    signals.run(retries=True)
    assert [name for name, _ in seen] == ["ann", "bob", "ann", "bob"]
    assert seen[0] == seen[2]
    assert seen[1] == seen[3]
    assert all(identity for _, identity in seen)


def test_the_template_is_rendered_in_each_users_language(signals, recorder, subscribe, fire, people, settings) -> None:
    from dsn_core import BaseMessageTemplate
    from tests.testapp.models import Profile

    settings.DSN = {"RUNNER": "worker", "LANGUAGE_PATH": "profile.language"}
    Profile.objects.create(user=people[0], language="de")
    texts: list[str] = []
    recorder.after = staticmethod(lambda rendered: texts.append(str(rendered[-1])))
    signals.add(type("Yes", (BaseMessageTemplate,), {"text": "{{ _('Yes') }}"}))
    subscribe(users=people[:2], backends=[("recorder", "Yes")])
    fire()
    signals.run()
    assert texts == ["Ja", "Yes"]


def test_a_call_whose_template_is_not_installed_waits(signals, recorder, subscribe, fire, people) -> None:
    from dsn_core.models import Backend

    subscribe(users=people[:1], backends=BACKENDS)
    fire()
    Backend.objects.update(message_template="gone")
    signals.run()
    assert (rows()[0].status, rows()[0].attempts) == ("retry", 0)
    assert "There is no message template 'gone'" in rows()[0].last_error
    assert recorder.calls == []
    Backend.objects.update(message_template="plain")
    Delivery.objects.update(status="pending", not_before=DatabaseNow(), finished_at=None)
    signals.run()
    assert rows()[0].status == "sent"
