"""Messages that need what their event did not store: failed with the reason, and said when the event is recorded."""

from __future__ import annotations

from typing import Any

import pytest

from dsn_core import BaseMessageTemplate, BaseMessenger, emit
from dsn_core.models import Delivery, Event
from tests.conftest import happened
from tests.testapp.models import Movie


@pytest.fixture(autouse=True)
def unsaid(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is lost is said once in a process for each trigger; nothing was said before."""
    monkeypatch.setattr("dsn_core.intake.record._said", set())


class Digest(BaseMessageTemplate):
    name = "digest"
    text = "The week: {{ orders|length }}"


@pytest.mark.django_db
def test_a_digest_of_too_many_orders_is_failed_and_logged_once(signals: Any, subscribe: Any, people: Any, settings: Any,
                                                               caplog: pytest.LogCaptureFixture) -> None:  # fmt: skip
    signals.add(Digest)
    settings.DSN = {"RUNNER": "worker", "MAX_PAYLOAD_BYTES": 2_000}
    subscribe(users=people[:1], backends=[("memory", "digest")], target="the week")
    for _ in range(3):
        emit("happened", target="the week", orders=[{"number": number, "paid": True} for number in range(900)])
    signals.run()
    assert signals.sent == []
    for delivery in Delivery.objects.all():
        assert delivery.status == "failed"
        assert "'orders' was not stored with the event (list of 900: too large to store" in delivery.last_error
        assert "raise DSN['MAX_PAYLOAD_BYTES'], which is 2000 now" in delivery.last_error
    assert Delivery.objects.count() == 3
    lines = [record.getMessage() for record in caplog.records if record.name == "dsn_core.intake"]
    assert len(lines) == 1
    assert lines[0].startswith("Trigger happened to the week: ")
    assert "without 'orders' (list of 900: too large to store" in lines[0]


@pytest.mark.django_db
def test_a_resolver_that_follows_a_path_to_it_fails_its_event(signals: Any, subscribe: Any, settings: Any) -> None:
    settings.DSN = {"RUNNER": "worker", "MAX_PAYLOAD_BYTES": 400}
    subscribe(resolver="path", argument="readers")
    emit("happened", readers=["x" * 20] * 100)
    signals.run()
    event = Event.objects.get()
    assert event.status == "failed"
    assert "'readers' was not stored with the event (list of 100" in event.last_error


@pytest.mark.django_db
def test_a_sender_of_which_nothing_can_be_stored_is_named_by_its_type(
    signals: Any, subscribe: Any, people: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Service:
        pass

    subscribe(users=people[:1], backends=[("memory", "simple")])
    happened.send(sender=Service())
    happened.send(sender=Service)
    signals.run()
    assert min(message.subject for message in signals.sent) == "happened: Service"
    assert len(signals.sent) == 2
    assert "is recorded without" not in caplog.text


@pytest.mark.django_db
def test_a_column_that_was_not_stored_fails_where_it_is_used_only(signals: Any, subscribe: Any, people: Any,
                                                                  settings: Any) -> None:  # fmt: skip
    class Names(BaseMessageTemplate):
        name = "names"
        text = "{{ movie.pk }}"

    signals.add(Names)
    settings.DSN = {"RUNNER": "worker", "MAX_PAYLOAD_BYTES": 400}
    subscribe(users=people[:1], backends=[("memory", "names")])
    emit("happened", movie=Movie(pk=7, name="x" * 300))
    signals.run()
    assert [message.text for message in signals.sent] == ["7"]


@pytest.mark.django_db
def test_a_messenger_that_sends_itself_is_not_asked_again(
    signals: Any, subscribe: Any, people: Any, settings: Any
) -> None:
    class Own(BaseMessenger):
        name = "own"

        def send(self, template: Any, users: Any, trigger_context: Any, signal_kwargs: Any) -> None:
            for user in users:
                _ = f"{user}: {signal_kwargs['orders']}"

    signals.add(Own)
    settings.DSN = {"RUNNER": "worker", "MAX_PAYLOAD_BYTES": 400}
    subscribe(users=people[:1], backends=[("own", "plain")])
    emit("happened", orders=["x" * 20] * 100)
    signals.run()
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.attempts) == ("failed", 1)
    assert "'orders' was not stored" in delivery.last_error
