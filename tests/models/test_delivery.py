"""Deliveries and events that an operator sends again or cancels."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.db.models import Model

from dsn_core import BaseReceiverResolver, Receipt
from dsn_core.models import Backend, Delivery, Event, MessengerState, Trigger
from dsn_core.models.delivery import FINAL, TRANSITIONS, Status
from dsn_core.testing import MemoryMessenger
from tests.testapp.models import TestModel1

pytestmark = pytest.mark.django_db


@pytest.fixture
def trigger(dsn: Any) -> Trigger:
    return Trigger.objects.define("post_save", action_object=TestModel1)


@pytest.fixture
def ann(db: None) -> User:
    return User.objects.create_user("ann")


def test_what_was_not_sent_is_sent_again_with_all_its_attempts(dsn: Any, trigger: Trigger, ann: User) -> None:
    trigger.subscribe(users=[ann], backends=[("memory", "simple")])
    MemoryMessenger.answer = staticmethod(lambda message: Receipt.failed("no such box"))
    TestModel1.objects.create(name="one")
    dsn.run()
    (failed,) = dsn.deliveries
    assert (failed.status, failed.not_before) == (Status.FAILED, None)

    MemoryMessenger.answer = None
    assert Delivery.objects.retry() == 1
    dsn.run()

    (sent,) = dsn.deliveries
    assert (sent.status, sent.attempts, sent.last_error) == (Status.SENT, 1, "")
    assert [message.id for message in dsn.sent] == [failed.message_id]
    assert Delivery.objects.retry() == 0, "what was sent is not sent twice"


def test_a_backend_that_was_mended_is_used(dsn: Any, trigger: Trigger, ann: User) -> None:
    trigger.subscribe(users=[ann], backends=[("memory", "simple")])
    Backend.objects.update(messenger="pigeon")
    TestModel1.objects.create(name="one")
    dsn.run()
    assert [row.status for row in dsn.deliveries] == [Status.PENDING], "another worker may have it"

    Backend.objects.update(messenger="memory")
    MessengerState.objects.all().delete()
    waiting = Delivery.objects.filter(messenger="pigeon")
    assert (waiting.cancel(), waiting.retry()) == (1, 1)
    dsn.run()

    assert [(row.messenger, row.status) for row in dsn.deliveries] == [("memory", Status.SENT)]


def test_one_without_its_backend_keeps_its_messenger(dsn: Any, trigger: Trigger, ann: User) -> None:
    trigger.subscribe(users=[ann], backends=[("memory", "simple")])
    TestModel1.objects.create(name="one")
    dsn.run()
    Delivery.objects.update(status=Status.UNKNOWN)
    Backend.objects.all().delete()
    assert Delivery.objects.retry() == 1
    dsn.run()
    assert [(row.messenger, row.status) for row in dsn.deliveries] == [("memory", Status.FAILED)]


def test_only_what_waits_can_be_cancelled(dsn: Any, trigger: Trigger, ann: User, settings: Any) -> None:
    settings.DSN = {"RUNNER": "worker"}
    trigger.subscribe(users=[ann], backends=[("memory", "simple")])
    for status in Status:
        TestModel1.objects.create(name=status)
    dsn.run()
    for row, status in zip(dsn.deliveries, Status, strict=True):
        Delivery.objects.filter(pk=row.pk).update(status=status)
    assert Delivery.objects.cancel() == 2
    expected = [Status.CANCELLED if Status.CANCELLED in TRANSITIONS[status] else status for status in Status]
    assert [row.status for row in dsn.deliveries] == expected
    assert {status for status in Status if status in FINAL} >= {Status.CANCELLED}


class Moody(BaseReceiverResolver):
    """Finds ann when it can."""

    name = "moody"
    works = False

    def resolve(self, event: Any, argument: str) -> Any:
        return User.objects.filter(username="ann") if self.works else ["nonsense"]


def test_an_event_whose_resolver_was_mended_is_expanded_again(
    dsn: Any, trigger: Trigger, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn.add(Moody)
    bob = User.objects.create_user("bob")
    trigger.subscribe("found", users=[bob], backends=[("memory", "simple")])
    trigger.subscribe("sought", resolver="moody", backends=[("memory", "simple")])
    TestModel1.objects.create(name="one")
    dsn.run()
    event = Event.objects.get()
    assert event.status == Event.Status.FAILED
    assert "Event.objects.retry()" in event.last_error

    monkeypatch.setattr(Moody, "works", True)
    assert Event.objects.retry() == 1
    dsn.run()

    assert [message.user for message in dsn.sent] == [bob, ann]
    event.refresh_from_db()
    assert (event.status, event.last_error) == (Event.Status.EXPANDED, "")


def test_a_row_that_was_read_is_as_djangos_own_would_be(dsn: Any, trigger: Trigger, ann: User) -> None:
    trigger.subscribe(users=[ann], backends=[("memory", "simple")])
    TestModel1.objects.create(name="one")
    dsn.run()
    read = Delivery.objects.defer("messenger", "address").get()
    own = Model.from_db.__func__(Delivery, "default", *zip(*Delivery.objects.values().get().items(), strict=True))
    assert read.get_deferred_fields() == {"messenger", "address"}
    assert (read._state.adding, read._state.db) == (False, "default")
    assert {name: getattr(read, name) for name in vars(own) if name != "_state"} == {
        name: value for name, value in vars(own).items() if name != "_state"
    }
    assert (read.user, read.event.verb) == (ann, "post_save")
    read.status = Status.FAILED
    read.save()
    assert Delivery.objects.get().status == Status.FAILED


@pytest.mark.skipif(connection.vendor != "postgresql", reason="the others' indexes hold all rows")
def test_a_delivery_to_a_user_has_no_entry_in_the_indexes_of_addresses_and_provider_ids(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s", [Delivery._meta.db_table])
        found = dict(cursor.fetchall())
    assert "WHERE (address_key IS NOT NULL)" in found["dsn_delivery_address_once"]
    assert "WHERE (user_id IS NOT NULL)" in found["dsn_delivery_user_once"]
    assert "WHERE ((provider_id)::text <> ''::text)" in found["dsn_delivery_provider"]


@pytest.mark.parametrize("receiver", [{"user_id": 1}, {"address_key": "a"}])
def test_the_same_receiver_has_one_delivery_of_an_occurrence_and_a_backend(db: None, receiver: dict[str, Any]) -> None:
    first = Delivery.objects.create(event_id=1, backend_id=1, occurrence=uuid.uuid4(), messenger="memory", **receiver)
    Delivery.objects.create(event_id=1, backend_id=2, occurrence=first.occurrence, messenger="memory", **receiver)
    with pytest.raises(IntegrityError), transaction.atomic():
        Delivery.objects.create(event_id=2, backend_id=1, occurrence=first.occurrence, messenger="memory", **receiver)
