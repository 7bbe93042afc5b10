"""Every page of every model opens, with rows and without."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from dsn_core import models
from dsn_core.models import (
    Address,
    Backend,
    ConfigurationChange,
    Delivery,
    Environment,
    Event,
    MessengerState,
    Subscription,
    SubscriptionAddress,
    Trigger,
    WorkerHeartbeat,
)
from tests.admin.conftest import SECRET
from tests.admin.pages import text, url
from tests.testapp.models import Movie

CONFIGURED = [Trigger, Backend, Subscription, Address]
HISTORY = [Event, Delivery, MessengerState, ConfigurationChange, WorkerHeartbeat, Environment]
PAGES = [*CONFIGURED, *HISTORY]


@pytest.fixture
def rows(plain_backend: Backend, root: User) -> dict[type[Any], Any]:
    """One row of every model."""
    trigger = Trigger.objects.define("post_save", action_object=Movie, target="<b>cinema</b>")
    subscription = trigger.subscribe(
        "<i>audience</i>",
        users=[root],
        resolver="duty",
        argument="8",
        addresses=[("pager", "110")],
        backends=[plain_backend],
    )
    event = Event.objects.create(trigger=trigger, verb="post_save", payload='{"kwargs": {}}', last_error="<oops>")
    delivery = Delivery.objects.create(
        event=event,
        backend=plain_backend,
        user=root,
        occurrence=event.occurrence,
        messenger="pager",
        last_error="<oops>",
    )
    state = MessengerState.objects.create(messenger="night", paused_until=timezone.now(), pause_reason="<busy>")
    address = Address.objects.create(user=root, messenger="pager", address="<i>7</i>")
    change = ConfigurationChange.objects.order_by("created_at").last()
    worker = WorkerHeartbeat.objects.create(host="<b>host</b>", process=7, version="1")
    environment = Environment.objects.create(name="<i>staging</i>")
    kept = (state, change, worker, environment)
    return {type(row): row for row in (trigger, plain_backend, subscription, event, delivery, address, *kept)}


def test_every_model_is_in_the_admin_or_inline() -> None:
    inline = {SubscriptionAddress}
    deprecated = {models.Profile}
    # What it says is said of its deliveries.
    internal = {models.DeliveryPage}
    everything = {getattr(models, name) for name in models.__all__}
    assert everything - inline - deprecated - internal == {
        model for model in everything if admin.site.is_registered(model)
    }


@pytest.mark.parametrize("model", PAGES)
def test_the_empty_list_opens(client: Client, model: type[Any]) -> None:
    response = client.get(url(model, "changelist"))
    assert response.status_code == 200
    assert "dsn_core/admin.css" in response.content.decode()


@pytest.mark.parametrize("model", PAGES)
def test_the_list_opens_and_every_column_sorts(client: Client, rows: dict[type[Any], Any], model: type[Any]) -> None:
    assert client.get(url(model, "changelist")).context["cl"].result_count == model.objects.count()
    for column in range(1, 10):
        assert client.get(url(model, "changelist"), {"o": str(column)}).status_code == 200


@pytest.mark.parametrize("term", ["post", "1", "#1", "9" * 40, "²", "'\"<%", "0" * 32, "0" * 32 + ".1", "-1", "x.1"])
@pytest.mark.parametrize("model", [*CONFIGURED, Event, Delivery, MessengerState])
def test_any_search_is_answered(client: Client, rows: dict[type[Any], Any], model: type[Any], term: str) -> None:
    response = client.get(url(model, "changelist"), {"q": term})
    assert response.status_code == 200
    assert response.context["cl"].query == term


@pytest.mark.parametrize("model", PAGES)
def test_the_page_of_a_row_opens_and_escapes(client: Client, rows: dict[type[Any], Any], model: type[Any]) -> None:
    response = client.get(url(model, "change", rows[model].pk))
    assert response.status_code == 200
    for page in (response, client.get(url(model, "changelist"))):
        content = page.content.decode()
        assert not [raw for raw in ("<i>audience", "<i>7", "<b>cinema", "<oops>", "<busy>") if raw in content]


@pytest.mark.parametrize("model", PAGES)
def test_the_history_page_opens(client: Client, rows: dict[type[Any], Any], model: type[Any]) -> None:
    assert client.get(url(model, "history", rows[model].pk)).status_code == 200


@pytest.mark.parametrize("model", CONFIGURED)
def test_the_add_page_opens(client: Client, plugin: Any, model: type[Any]) -> None:
    assert client.get(url(model, "add")).status_code == 200


@pytest.mark.parametrize("model", HISTORY)
def test_history_cannot_be_added_to(client: Client, model: type[Any]) -> None:
    assert client.get(url(model, "add")).status_code == 403


@pytest.mark.parametrize("model", HISTORY)
def test_history_cannot_be_changed(client: Client, rows: dict[type[Any], Any], model: type[Any]) -> None:
    page = url(model, "change", rows[model].pk)
    assert 'name="_save"' not in client.get(page).content.decode()
    assert client.post(page, {"status": "sent", "verb": "x", "messenger": "x", "number": 1}).status_code == 403


@pytest.mark.parametrize("model", [*CONFIGURED, Event, Delivery])
def test_a_row_can_be_deleted_from_its_page_and_from_the_list(
    client: Client, rows: dict[type[Any], Any], model: type[Any]
) -> None:
    page = url(model, "delete", rows[model].pk)
    assert client.get(page).status_code == 200
    selected = {"action": "delete_selected", "_selected_action": [rows[model].pk]}
    assert "Are you sure" in text(client.post(url(model, "changelist"), selected))
    assert client.post(url(model, "changelist"), {**selected, "post": "yes"}).status_code == 302
    assert not model.objects.exists()


@pytest.mark.parametrize("model", [MessengerState, ConfigurationChange])
def test_what_the_pipeline_rests_on_cannot_be_deleted(
    client: Client, rows: dict[type[Any], Any], model: type[Any]
) -> None:
    assert client.post(url(model, "delete", rows[model].pk), {"post": "yes"}).status_code == 403
    assert model.objects.exists()


@pytest.mark.parametrize("model", PAGES)
def test_no_secret_is_shown(client: Client, rows: dict[type[Any], Any], model: type[Any]) -> None:
    Backend.objects.define("night", "plain")
    for page in (url(model, "changelist"), url(model, "change", rows[model].pk)):
        assert SECRET not in client.get(page).content.decode()


def test_deleting_an_event_deletes_its_deliveries_and_says_how_many(client: Client, rows: dict[type[Any], Any]) -> None:
    page = url(Event, "delete", rows[Event].pk)
    assert "deliveries: 1" in text(client.get(page)).lower()
    assert client.post(page, {"post": "yes"}).status_code == 302
    assert not Delivery.objects.exists()
