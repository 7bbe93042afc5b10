"""Whole paths, from a signal to what a receiver gets, and what happens when a part of one fails."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import transaction
from django.dispatch import Signal

import dsn_core
from dsn_core import BaseMessageTemplate, BaseMessenger, BaseReceiverFilter, BaseReceiverResolver, Receipt
from dsn_core.models import Backend, Delivery, Event, Subscription, Trigger
from dsn_core.testing import MemoryMessenger
from tests.testapp.models import Movie, TestModel1

pytestmark = pytest.mark.django_db(transaction=True)

movie_released = Signal()


class MovieReleased(BaseMessageTemplate):
    """A movie was released."""

    name = "movie_released"
    subject = "{{ movie.name }} is out"
    text = "Dear {{ user.username if user else 'all' }}, {{ movie.name }} is out."
    required_signal_args = ["movie"]


@pytest.fixture(autouse=True)
def released(dsn):
    dsn_core.register_signal("movie_released", movie_released, provides=["movie"])
    dsn.add(MovieReleased)
    return Trigger.objects.define("movie_released")


@pytest.fixture
def ann():
    return get_user_model().objects.create_user("ann", "ann@example.org")


@pytest.fixture
def movie():
    return Movie.objects.create(name="Alien")


def statuses() -> list[str]:
    return [str(status) for status in Delivery.objects.order_by("id").values_list("status", flat=True)]


def test_a_user_in_two_groups_who_is_named_too_gets_one_message(dsn, released, ann, movie):
    groups = [Group.objects.create(name=name) for name in ("critics", "members")]
    ann.groups.set(groups)
    movie.audiences.add(ann)
    released.subscribe(
        users=[ann], groups=groups, resolver="path", argument="movie.audiences", backends=[("memory", "movie_released")]
    )
    released.subscribe("once more", users=[ann], backends=[("memory", "movie_released")])

    movie_released.send(sender=Movie, movie=movie)

    assert [(message.user, message.subject) for message in dsn.sent] == [(ann, "Alien is out")]
    assert statuses() == ["sent"]


def test_bare_addresses_get_it_too(dsn, released, movie):
    released.subscribe(addresses=[("memory", "ops@example.org")], backends=[("memory", "movie_released")])
    movie_released.send(sender=Movie, movie=movie)
    (message,) = dsn.sent
    assert (message.address, message.user, str(message)) == ("ops@example.org", None, "Dear all, Alien is out.")


def test_what_is_rolled_back_was_never_sent(dsn, ann):
    trigger = Trigger.objects.define("post_save", action_object=TestModel1)
    trigger.subscribe(users=[ann], backends=[("memory", "simple")])
    with transaction.atomic():
        TestModel1.objects.create(name="rolled back")
        assert Event.objects.count() == 1, "recorded in the same transaction"
        transaction.set_rollback(True)
    with transaction.atomic():
        TestModel1.objects.create(name="kept")
        with transaction.atomic():
            TestModel1.objects.create(name="to the savepoint")
            transaction.set_rollback(True)
        assert dsn.sent == [], "nothing leaves before the commit"
    assert [message.subject for message in dsn.sent] == ["post_save: kept"]
    assert Event.objects.count() == 1


def test_a_deleted_object_is_still_in_its_message(dsn, ann, movie):
    Trigger.objects.define("post_delete", action_object=Movie).subscribe(users=[ann], backends=[("memory", "simple")])
    movie.delete()
    assert [message.subject for message in dsn.sent] == ["post_delete: Alien"]


def test_a_later_edit_does_not_change_the_message(dsn, ann, settings):
    settings.DSN = {"RUNNER": "worker"}
    Trigger.objects.define("post_save", action_object=Movie).subscribe(users=[ann], backends=[("memory", "simple")])
    movie = Movie.objects.create(name="Alien")
    Movie.objects.filter(pk=movie.pk).update(name="Aliens")
    dsn.run()
    assert [message.subject for message in dsn.sent] == ["post_save: Alien"]


class Broken(BaseMessenger):
    """Raises."""

    name = "broken"

    def send_messages(self, messages):
        raise RuntimeError("no wire")


class BrokenTemplate(BaseMessageTemplate):
    """Raises for one."""

    name = "broken_for_bob"
    text = "{{ 1 // (0 if user.username == 'bob' else 1) }}"


class BrokenResolver(BaseReceiverResolver):
    """Raises."""

    name = "broken"

    def resolve(self, event, argument):
        raise RuntimeError("nobody home")


class BrokenFilter(BaseReceiverFilter):
    """Raises."""

    name = "broken"

    def exclude(self, deliveries):
        raise RuntimeError("list not readable")


def test_a_messenger_that_raises_reaches_nobody(dsn, released, ann, movie):
    dsn.add(Broken)
    released.subscribe(users=[ann], backends=[("broken", "movie_released"), ("memory", "movie_released")])
    movie_released.send(sender=Movie, movie=movie)
    assert len(dsn.sent) == 1
    broken = Delivery.objects.get(messenger="broken")
    assert broken.status == Delivery.Status.RETRY
    assert broken.last_error.startswith("RuntimeError: no wire (tests/acceptance/test_whole_paths.py:")
    assert broken.not_before is not None


def test_a_template_that_fails_for_one_fails_for_that_one(dsn, released, ann, movie):
    dsn.add(BrokenTemplate)
    bob = get_user_model().objects.create_user("bob")
    released.subscribe(users=[ann, bob], backends=[("memory", "broken_for_bob")])
    movie_released.send(sender=Movie, movie=movie)
    assert [message.user for message in dsn.sent] == [ann]
    failed = Delivery.objects.get(user=bob)
    assert failed.status == Delivery.Status.FAILED
    assert "broken_for_bob" in failed.last_error
    assert "ZeroDivisionError" in failed.last_error


def test_a_resolver_that_raises_does_not_stop_other_subscriptions(dsn, released, ann, movie):
    dsn.add(BrokenResolver)
    released.subscribe("bad", resolver="broken", backends=[("memory", "movie_released")])
    released.subscribe("good", users=[ann], backends=[("memory", "movie_released")])
    movie_released.send(sender=Movie, movie=movie)
    assert [message.user for message in dsn.sent] == [ann]
    event = Event.objects.get()
    assert event.status == Event.Status.PENDING
    assert event.last_error.startswith("RuntimeError: nobody home (tests/acceptance/test_whole_paths.py:")


def test_a_filter_that_raises_holds_back_and_loses_nothing(dsn, released, ann, movie):
    plugin = dsn.add(BrokenFilter)
    released.subscribe(users=[ann], backends=[("memory", "movie_released")])
    movie_released.send(sender=Movie, movie=movie)
    assert (dsn.sent, statuses()) == ([], ["retry"])
    from dsn_core.plugins.registry import registry

    registry.remove(plugin)
    dsn._plugins.remove(plugin)
    dsn.run(retries=True)
    assert statuses() == ["sent"]


def test_a_template_that_asks_for_more_is_refused_when_it_is_configured(ann):
    trigger = Trigger.objects.define("post_save", action_object=TestModel1)
    with pytest.raises(ValidationError, match="movie_released needs the signal arguments movie, which post_save does"):
        trigger.subscribe(users=[ann], backends=[("memory", "movie_released")])
    assert not Subscription.objects.exists(), "all or nothing"
    subscription = trigger.subscribe(users=[ann])
    with pytest.raises(ValidationError):
        subscription.backends.add(Backend.objects.define("memory", "movie_released"))


def test_a_retry_is_sent_once_and_keeps_its_id(dsn, released, ann, movie):
    ids = []

    def answer(message):
        ids.append(message.id)
        return Receipt.sent() if len(ids) == 3 else Receipt.retry(reason="500")

    MemoryMessenger.answer = staticmethod(answer)
    released.subscribe(users=[ann], backends=[("memory", "movie_released")])
    movie_released.send(sender=Movie, movie=movie)
    assert statuses() == ["retry"]
    dsn.run()
    assert len(ids) == 1, "not before its time"
    dsn.run(retries=True)
    dsn.run(retries=True)
    assert (statuses(), len(set(ids)), len(dsn.sent)) == (["sent"], 1, 1)
    assert Delivery.objects.get().attempts == 3


def test_loaddata_fires_nothing(dsn, ann, tmp_path):
    Trigger.objects.define("post_save", action_object=TestModel1).subscribe(
        users=[ann], backends=[("memory", "simple")]
    )
    fixture = tmp_path / "one.json"
    fixture.write_text('[{"model": "testapp.testmodel1", "pk": 7, "fields": {"name": "loaded"}}]')
    call_command("loaddata", fixture, verbosity=0)
    assert TestModel1.objects.get().name == "loaded"
    assert not Event.objects.exists()


def test_a_plugin_that_is_gone_is_waited_for_with_a_clear_error(
    dsn, released, ann, movie, settings, caplog, monkeypatch
):
    # It is said once in a process.
    monkeypatch.setattr("dsn_core.sending.sender._unmade", {})
    settings.DSN = {"RUNNER": "worker"}
    released.subscribe(users=[ann], backends=[("memory", "movie_released")])
    Backend.objects.update(messenger="pigeon")
    movie_released.send(sender=Movie, movie=movie)
    dsn.run()
    delivery = Delivery.objects.get()
    assert delivery.status == Delivery.Status.PENDING
    assert "There is no messenger 'pigeon'" in caplog.text
    assert "dsn_plugins" in caplog.text


def test_emit_for_what_fires_no_signal(dsn, ann):
    Trigger.objects.define("post_save", action_object=TestModel1).subscribe(
        users=[ann], backends=[("memory", "simple")]
    )
    made = TestModel1.objects.bulk_create([TestModel1(name="in bulk")])
    assert dsn.sent == []
    occurrence = dsn_core.emit("post_save", action_object=made[0], created=True)
    assert [message.subject for message in dsn.sent] == ["post_save: in bulk"]
    assert Delivery.objects.get().occurrence == occurrence
    assert dsn_core.emit("post_save", action_object=ann) is None


def test_emit_of_an_unknown_verb_breaks_nothing_unless_strict(caplog, settings):
    assert dsn_core.emit("post_sive") is None
    assert "did you mean 'post_save'?" in caplog.text
    settings.DSN = {"STRICT": True}
    with pytest.raises(dsn_core.exceptions.UnknownName):
        dsn_core.emit("post_sive")
