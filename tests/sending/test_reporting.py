"""Reports of providers, and refused addresses."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from dsn_core import BaseMessenger, Receipt, record_report, store_address
from dsn_core.fanout import expander
from dsn_core.models import Address, Delivery, MessengerState, Trigger
from dsn_core.sending import handing_over, sender
from dsn_core.signals import address_refused, delivery_reported
from tests.testapp.models import Movie

pytestmark = pytest.mark.django_db


class Phone(BaseMessenger):
    """Sends nothing, and answers what ``answer`` says."""

    name = "phone"
    profile_field = "phone"
    answer = staticmethod(lambda message: Receipt.sent(f"sm-{message.address}", message=message))

    def send_messages(self, messages):
        for message in messages:
            yield self.answer(message)


@pytest.fixture
def phone(dsn, settings):
    settings.DSN = {"RUNNER": "worker"}
    dsn.add(Phone)
    return Phone


@pytest.fixture
def hear():
    heard = []

    def receive(signal, **kwargs):
        heard.append(kwargs)

    for signal in (address_refused, delivery_reported):
        signal.connect(receive)
    yield heard
    for signal in (address_refused, delivery_reported):
        signal.disconnect(receive)


def sent_to(number, dsn):
    ann = User.objects.create_user("ann")
    store_address(ann, "phone", number)
    trigger = Trigger.objects.define("post_save", action_object=Movie)
    trigger.subscribe(users=[ann], backends=[("phone", "simple")])
    Movie.objects.create(name="Brazil")
    dsn.run()
    return Delivery.objects.get()


@pytest.mark.parametrize(("state", "status"), [("delivered", "sent"), ("undelivered", "unknown")])
def test_a_report_resolves_what_was_unknown_and_the_first_one_stays(phone, dsn, monkeypatch, hear, state, status):
    monkeypatch.setattr(phone, "answer", lambda self, message: Receipt.unknown("timed out", message=message))
    delivery = sent_to("+1", dsn)
    assert delivery.status == "unknown"
    assert record_report(state, messenger="phone", message_id=delivery.message_id, reason="30005")
    assert record_report("delivered", messenger="phone", message_id=delivery.message_id, reason="too late")
    delivery.refresh_from_db()
    assert (delivery.status, delivery.report, delivery.report_reason) == (status, state, "30005")
    assert delivery.reported_at is not None
    assert [(heard["state"], heard["reason"]) for heard in hear] == [(state, "30005")]


def test_what_was_reported_delivered_is_not_sent_again(phone, dsn, monkeypatch):
    monkeypatch.setattr(phone, "answer", lambda self, message: Receipt.retry(reason="lost", message=message))
    delivery = sent_to("+1", dsn)
    assert delivery.status == "retry"
    assert record_report("delivered", messenger="phone", message_id=delivery.message_id)
    delivery.refresh_from_db()
    assert (delivery.status, delivery.not_before) == ("sent", None)
    assert delivery.finished_at is not None


def test_a_report_that_comes_before_the_answer_is_lost_wins(phone, dsn, monkeypatch):
    def answer(self, message):
        record_report("delivered", messenger="phone", message_id=message.id)
        return Receipt.unknown("timed out", message=message)

    monkeypatch.setattr(phone, "answer", answer)
    assert sent_to("+1", dsn).status == "sent"


def test_what_is_sent_again_begins_without_a_report(phone, dsn, monkeypatch):
    monkeypatch.setattr(phone, "answer", lambda self, message: Receipt.unknown("timed out", message=message))
    delivery = sent_to("+1", dsn)
    assert record_report("undelivered", messenger="phone", message_id=delivery.message_id, reason="30005")
    assert Delivery.objects.retry() == 1
    delivery.refresh_from_db()
    assert (delivery.report, delivery.report_reason, delivery.reported_at, delivery.provider_id) == ("", "", None, "")
    assert record_report("delivered", messenger="phone", message_id=delivery.message_id)


def test_a_pause_that_another_worker_heard_of_is_kept_between_two_batches(phone, dsn, monkeypatch):
    calls = []

    def answer(self, message):
        calls.append(message.id)
        MessengerState.objects.update(paused_until=timezone.now() + timedelta(minutes=5))
        return Receipt.sent(message=message)

    monkeypatch.setattr(phone, "answer", answer)
    users = [User.objects.create_user(f"user{number}") for number in range(4)]
    Address.objects.bulk_create([Address(user=user, messenger="phone", address="+1") for user in users])
    Trigger.objects.define("post_save", action_object=Movie).subscribe(users=users, backends=[("phone", "simple")])
    Movie.objects.create(name="Brazil")
    expander.expand_due("default")
    work = sender.Sender("phone", "default")
    work._batches = 4
    monkeypatch.setattr(phone, "batch_size", 1)
    monkeypatch.setattr(handing_over, "LOOK_SECONDS", 0)
    assert work.work().done == 1
    assert len(calls) == 1
    assert sorted(Delivery.objects.values_list("status", "attempts")) == [("pending", 0)] * 3 + [("sent", 1)]


def test_a_report_finds_its_delivery_by_the_providers_id(phone, dsn):
    delivery = sent_to("+1", dsn)
    assert not record_report("delivered", messenger="phone", provider_id="sm-+2")
    assert not record_report("delivered", messenger="other", provider_id="sm-+1")
    assert record_report("delivered", messenger="phone", provider_id="sm-+1")
    delivery.refresh_from_db()
    assert delivery.report == "delivered"


@pytest.mark.parametrize("message_id", ["", "x", "1.2", "0" * 32 + ".1", "é.\N{DIGIT ONE}", f"{'0' * 32}.{'9' * 30}"])
def test_a_forged_message_id_finds_no_delivery(phone, dsn, message_id):
    sent_to("+1", dsn)
    if message_id:
        assert record_report("delivered", messenger="phone", message_id=message_id) is False
    else:
        with pytest.raises(ValueError, match="message_id"):
            record_report("delivered", messenger="phone")


@pytest.mark.parametrize("state", ["delivered", "undelivered"])
def test_a_report_speaks_only_of_its_own_messenger(phone, dsn, caplog, state):
    delivery = sent_to("+1", dsn)
    assert record_report(state, messenger="other", message_id=delivery.message_id) is False
    assert "a delivery of another messenger" in caplog.text
    delivery.refresh_from_db()
    assert (delivery.report, delivery.report_reason, delivery.reported_at) == ("", "", None)
    with pytest.raises(ValueError, match="names its messenger"):
        record_report(state, messenger="", message_id=delivery.message_id)
    assert record_report(state, messenger="phone", message_id=delivery.message_id)


@pytest.mark.parametrize("provider_id", ["a\0b", "\ud800", "x" * 70_000])
def test_a_provider_id_that_no_database_holds_finds_no_delivery(phone, dsn, provider_id):
    sent_to("+1", dsn)
    assert record_report("delivered", messenger="phone", provider_id=provider_id) is False


def test_a_refused_address_is_told_to_the_project(phone, dsn, monkeypatch, hear):
    monkeypatch.setattr(phone, "answer", lambda self, message: Receipt.invalid_address("STOP", message=message))
    delivery = sent_to("+1", dsn)
    assert delivery.status == "failed"
    ((heard),) = hear
    assert (heard["messenger"], heard["address"], heard["reason"]) == ("phone", "+1", "STOP")
    assert heard["user"].username == "ann"
    assert heard["delivery"].pk == delivery.pk


def test_later_uses_up_no_attempt_and_delays_no_other(phone, dsn, monkeypatch):
    monkeypatch.setattr(phone, "answer", lambda self, message: Receipt.later(7, reason="slow chat", message=message))
    delivery = sent_to("+1", dsn)
    assert (delivery.status, delivery.attempts, delivery.last_error) == ("retry", 0, "slow chat")
