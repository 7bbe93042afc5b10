"""Permissions in the admin: view only, and single models."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from dsn_core import payload
from dsn_core.conditions.signal_call import SignalCall
from dsn_core.models import Address, Backend, Delivery, Event, MessengerState, Subscription, Trigger
from dsn_core.plugins.catalogue import catalogue
from tests.admin.pages import TRIGGER, addresses, text, url
from tests.testapp.models import Movie


@pytest.fixture
def staff(db: None) -> Callable[..., Client]:
    """A client of a user with exactly these permissions."""

    def make(*codenames: str) -> Client:
        user = User.objects.create_user(f"staff{User.objects.count()}", is_staff=True)
        found = Permission.objects.filter(codename__in=codenames, content_type__app_label="dsn_core")
        assert len(found) == len(codenames)
        user.user_permissions.set(found)
        client = Client()
        client.force_login(user)
        return client

    return make


@pytest.fixture
def rows(plain_backend: Backend) -> dict[type[Any], Any]:
    trigger = Trigger.objects.define("post_save", action_object=Movie)
    subscription = trigger.subscribe("x", addresses=[("pager", "110")], backends=[plain_backend])
    event = Event.objects.create(trigger=trigger, verb="post_save", payload="{}")
    delivery = Delivery.objects.create(
        event=event, backend=plain_backend, occurrence=event.occurrence, messenger="pager", address="110"
    )
    state = MessengerState.objects.create(messenger="pager", paused_until=timezone.now() + timedelta(hours=1))
    known = Address.objects.create(user=User.objects.create_user("ann"), messenger="pager", address="+49 30 901820")
    return {type(row): row for row in (trigger, plain_backend, subscription, event, delivery, state, known)}


MODELS = [Trigger, Backend, Subscription, Event, Delivery, MessengerState, Address]


@pytest.mark.parametrize("model", MODELS)
def test_with_view_permissions_everything_is_seen_and_nothing_changed(
    staff: Callable[..., Client], rows: dict[type[Any], Any], model: type[Any]
) -> None:
    client = staff(f"view_{model._meta.model_name}")
    row = rows[model]
    assert client.get(url(model, "changelist")).status_code == 200
    page = client.get(url(model, "change", row.pk))
    assert page.status_code == 200
    assert 'name="_save"' not in page.content.decode()
    assert client.post(url(model, "change", row.pk), {**TRIGGER, **addresses()}).status_code == 403
    assert client.post(url(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    for action in ("disable", "end_pause", "retry", "cancel", "delete_selected"):
        client.post(url(model, "changelist"), {"action": action, "_selected_action": [row.pk], "post": "yes"})
    row.refresh_from_db()
    assert getattr(row, "enabled", True)
    assert model is not MessengerState or row.paused_until is not None


def test_the_view_permission_of_a_subscription_shows_its_addresses(
    staff: Callable[..., Client], rows: dict[type[Any], Any]
) -> None:
    page = staff("view_subscription").get(url(Subscription, "change", rows[Subscription].pk))
    assert "pager 110" in text(page)


@pytest.mark.parametrize("model", MODELS)
def test_without_permissions_nothing_is_seen(
    staff: Callable[..., Client], rows: dict[type[Any], Any], model: type[Any]
) -> None:
    client = staff()
    assert client.get(url(model, "changelist")).status_code == 403
    assert client.get(url(model, "change", rows[model].pk)).status_code == 403


def test_the_change_permission_of_subscriptions_is_enough_for_them(
    staff: Callable[..., Client], rows: dict[type[Any], Any]
) -> None:
    """Neither triggers nor users may be searched by them: one is a short list, the other are keys."""
    client = staff("change_subscription", "view_subscription")
    row = rows[Subscription]
    content = client.get(url(Subscription, "change", row.pk)).content.decode()
    assert "admin-autocomplete" not in content
    data = {
        "trigger": row.trigger_id,
        "name": "renamed",
        "backends": [rows[Backend].pk],
        "users": "",
        "priority": "1",
        **addresses(("pager", "112")),
    }
    assert client.post(url(Subscription, "change", row.pk), data).status_code == 302
    row.refresh_from_db()
    assert row.name == "renamed"
    assert [address.address for address in row.addresses.all()] == ["110", "112"]


def test_the_change_permission_of_messenger_states_ends_a_pause_and_nothing_else(
    staff: Callable[..., Client], rows: dict[type[Any], Any]
) -> None:
    client = staff("change_messengerstate", "view_messengerstate")
    row = rows[MessengerState]
    assert client.post(url(MessengerState, "change", row.pk), {"messenger": "x"}).status_code == 403
    client.post(url(MessengerState, "changelist"), {"action": "end_pause", "_selected_action": [row.pk]})
    row.refresh_from_db()
    assert row.paused_until is None


def test_deleting_an_event_needs_the_permission_for_its_deliveries(
    staff: Callable[..., Client], rows: dict[type[Any], Any]
) -> None:
    page = url(Event, "delete", rows[Event].pk)
    assert staff("delete_event", "view_event").post(page, {"post": "yes"}).status_code == 403
    assert staff("delete_event", "view_event", "delete_delivery").post(page, {"post": "yes"}).status_code == 302
    assert not Delivery.objects.exists()


class TestWhatASignalSaid:
    """Who may look at events sees of the rows that they hold what they may look at."""

    @pytest.fixture
    def event(self, rows: dict[type[Any], Any]) -> Event:
        movie, ann = Movie(pk=7, name="Brazil"), User(pk=8, username="ann-the-user", email="ann@example.org")
        call = SignalCall(
            catalogue.get("post_save"),
            Movie,
            {
                "instance": movie,
                "created": True,
                "nested": [{"by": ann}, (movie,)],
                "several": User.objects.filter(username="ann"),
                "plain": "what the signal said besides",
            },
        )
        return Event.objects.create(trigger=rows[Trigger], verb="post_save", payload=payload.dump(call))

    def shown(self, client: Client, event: Event) -> str:
        page = client.get(url(Event, "change", event.pk))
        assert page.status_code == 200
        return text(page)

    def test_is_shown_without_rows_that_they_may_not_view(self, staff: Callable[..., Client], event: Event) -> None:
        shown = self.shown(staff("view_event"), event)
        assert "what the signal said besides" in shown
        assert shown.count("You may not view rows of this model.") == 4
        for secret in ("Brazil", "ann-the-user", "ann@example.org"):
            assert secret not in shown

    def test_is_shown_with_rows_of_models_that_they_may_view(self, staff: Callable[..., Client], event: Event) -> None:
        client = staff("view_event")
        user = User.objects.get(username="staff1")
        user.user_permissions.add(Permission.objects.get(codename="view_movie", content_type__app_label="testapp"))
        shown = self.shown(client, event)
        assert "Brazil" in shown
        assert "ann@example.org" not in shown
        user.user_permissions.add(Permission.objects.get(codename="view_user", content_type__app_label="auth"))
        assert "ann@example.org" in self.shown(client, event)

    @pytest.mark.parametrize("damaged", ['{"name": "Brazil"', '"' + "Brazil" * 200_000 + '"'], ids=["cut", "long"])
    def test_that_cannot_be_read_is_shown_to_nobody_else(
        self, staff: Callable[..., Client], event: Event, admin_client: Client, damaged: str
    ) -> None:
        Event.objects.filter(pk=event.pk).update(payload=damaged)
        assert "Brazil" not in self.shown(staff("view_event"), event)
        assert "Brazil" in self.shown(admin_client, event)

    def test_of_a_model_that_is_gone_is_shown_to_superusers(
        self, staff: Callable[..., Client], event: Event, admin_client: Client
    ) -> None:
        gone = '{"kwargs": {"x": {"$": "instance", "model": "gone.model", "db": "default", "v": {"name": "Brazil"}}}}'
        Event.objects.filter(pk=event.pk).update(payload=gone)
        assert "Brazil" not in self.shown(staff("view_event"), event)
        assert "Brazil" in self.shown(admin_client, event)
