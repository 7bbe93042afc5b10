"""Deleting many rows, and what is said of what stays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from dsn_core.models import Backend, Delivery, Event, Subscription, Trigger
from tests.admin.pages import answer, asked, text, url
from tests.testapp.models import Movie

ALL = {"action": "delete_selected", "select_across": "1", "index": "0", "_selected_action": ["1"]}


@pytest.fixture
def trigger(plain_backend: Backend) -> Trigger:
    return Trigger.objects.define("post_save", action_object=Movie)


def deliver(event: Event, backend: Backend, number: int, status: str = "sent") -> None:
    """Give ``event`` so many deliveries: the database doubles them, which takes a moment."""
    begin = Delivery.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    Delivery.objects.create(
        event=event, backend=backend, occurrence=event.occurrence, messenger="pager", status=status, address="1"
    )
    table = Delivery._meta.db_table
    columns = ", ".join(field.column for field in Delivery._meta.concrete_fields if not field.primary_key)
    made = 1
    with connection.cursor() as cursor:
        while made < number:
            more = min(made, number - made)
            copied = f"SELECT {columns} FROM {table} WHERE id > %s LIMIT {more}"  # noqa: S608 - all of it is ours
            cursor.execute(f"INSERT INTO {table} ({columns}) {copied}", [begin])
            made += more


def test_a_hundred_thousand_rows_are_deleted_by_a_filter(
    client: Client, trigger: Trigger, plain_backend: Backend
) -> None:
    event = Event.objects.create(trigger=trigger, verb="post_save", payload="{}")
    deliver(event, plain_backend, 100_000)
    deliver(event, plain_backend, 3, "failed")
    address = f"{url(Delivery, 'changelist')}?status__exact=sent"
    with CaptureQueriesContext(connection) as captured:
        page = client.post(address, ALL)
    # Django 5.2.0 takes one more than its successors, for users that no row names.
    assert len(captured) < 13
    assert len(page.content) < 30_000
    assert "Deliveries: 100,000" in text(page)
    assert "Filter: status__exact=sent." in text(page)
    data = asked(page)
    assert sum(map(len, data.values())) < 10
    deliver(event, plain_backend, 2)

    with CaptureQueriesContext(connection) as captured:
        page = client.post(address, data)
    assert page.status_code == 302
    # Pages of a thousand: its keys, its rows, and the block around them.
    assert len(captured) < 420
    assert Delivery.objects.filter(status="sent").count() == 2, "what came after the question stays"
    assert Delivery.objects.filter(status="failed").count() == 3
    (entry,) = LogEntry.objects.all()
    assert (entry.action_flag, entry.content_type.model_class()) == (DELETION, Delivery)
    assert entry.get_change_message() == "Successfully deleted 100000 deliveries. Filter: status__exact=sent."


def test_many_events_go_with_their_deliveries(client: Client, trigger: Trigger, plain_backend: Backend) -> None:
    events = Event.objects.bulk_create(
        Event(trigger=trigger, verb="post_save", payload="{}") for _number in range(2_500)
    )
    deliver(events[0], plain_backend, 10)
    kept = Event.objects.create(trigger=trigger, verb="other", payload="{}")
    page = client.post(f"{url(Event, 'changelist')}?verb=post_save", ALL)
    assert "Events: 2,500 Deliveries: 10" in text(page)
    with CaptureQueriesContext(connection) as captured:
        client.post(f"{url(Event, 'changelist')}?verb=post_save", asked(page))
    assert not [query for query in captured if "payload" in query["sql"]]
    assert list(Event.objects.all()) == [kept]
    assert not Delivery.objects.exists()


def test_rows_that_were_ticked_are_logged_one_by_one(client: Client, trigger: Trigger) -> None:
    made = [Trigger.objects.define("post_save", action_object=Movie, target=str(number)) for number in range(3)]
    ticked = [row.pk for row in made[:2]]
    page = answer(client, url(Trigger, "changelist"), {"action": "delete_selected", "_selected_action": ticked})
    assert "Successfully deleted 2 triggers." in text(page)
    assert set(Trigger.objects.all()) == {trigger, made[2]}
    assert {entry.object_id for entry in LogEntry.objects.all()} == set(map(str, ticked))


def test_triggers_and_backends_are_deleted_by_a_filter_too(client: Client, trigger: Trigger) -> None:
    for number in range(3):
        Trigger.objects.define("user_logged_in", target=str(number)).subscribe(str(number))
        Backend.objects.create(messenger="pager", message_template=f"other{number}")
    answer(client, f"{url(Trigger, 'changelist')}?verb=user_logged_in", ALL)
    answer(client, f"{url(Backend, 'changelist')}?q=other", ALL)
    assert (list(Trigger.objects.all()), Subscription.objects.count(), Backend.objects.count()) == ([trigger], 0, 1)


def test_without_permission_to_delete_related_rows_nothing_is_deleted(
    client: Client, trigger: Trigger, root: User
) -> None:
    Event.objects.create(trigger=trigger, verb="post_save", payload="{}")
    deliver(Event.objects.get(), Backend.objects.get(), 2)
    data = asked(client.post(url(Event, "changelist"), ALL))
    staff = User.objects.create_user("staff", is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(codename__in=["view_event", "delete_event"]))
    client.force_login(staff)
    assert "permission to delete the following types of objects" in text(client.post(url(Event, "changelist"), ALL))
    assert client.post(url(Event, "changelist"), data).status_code == 403
    assert (Event.objects.count(), Delivery.objects.count()) == (1, 2)


@pytest.fixture
def site_action() -> Iterator[None]:
    yield
    admin.site.add_action(admin.actions.delete_selected, "delete_selected")


def test_a_site_that_deletes_nothing_by_actions_is_heeded(client: Client, trigger: Trigger, site_action: None) -> None:
    admin.site.disable_action("delete_selected")
    page = client.get(url(Trigger, "changelist"))
    assert "delete_selected" not in page.content.decode()
    client.post(url(Trigger, "changelist"), {**ALL, "post": "yes"})
    assert Trigger.objects.exists()


def test_a_sites_own_action_is_heeded(client: Client, trigger: Trigger, site_action: None) -> None:
    called: list[Any] = []

    def own(model_admin: Any, request: Any, queryset: Any) -> None:
        called.extend(queryset)

    admin.site.add_action(own, "delete_selected")
    client.post(url(Trigger, "changelist"), ALL)
    assert called == [trigger]


@pytest.mark.parametrize("by_action", [True, False])
def test_deleting_a_backend_names_the_subscriptions_that_use_it(
    client: Client, trigger: Trigger, plain_backend: Backend, by_action: bool
) -> None:
    other = Backend.objects.define("console", "simple")
    alone = trigger.subscribe("<night> watch", backends=[plain_backend])
    trigger.subscribe("both", backends=[plain_backend, other])
    trigger.subscribe("unconcerned", backends=[other])
    if by_action:
        data = {"action": "delete_selected", "_selected_action": [plain_backend.pk]}
        page = client.post(url(Backend, "changelist"), data)
    else:
        page = client.get(url(Backend, "delete", plain_backend.pk))
    said = text(page)
    assert "2 subscriptions use it, and will no longer send with it:" in said
    assert f'<a href="{url(Subscription, "change", alone.pk)}">&lt;night&gt; watch' in page.content.decode()
    assert "both (" in said
    assert "unconcerned" not in said
    assert "1 of them has no other backend" in said
    assert "uses it" not in text(client.get(url(Backend, "delete", Backend.objects.create(messenger="x").pk)))


def test_the_names_are_bounded_and_for_those_who_may_see_them(
    client: Client, trigger: Trigger, plain_backend: Backend
) -> None:
    for number in range(40):
        trigger.subscribe(f"subscription {number}", backends=[plain_backend])
    page = url(Backend, "delete", plain_backend.pk)
    with CaptureQueriesContext(connection) as captured:
        said = text(client.get(page))
    assert len(captured) < 15
    assert "40 subscriptions use it" in said
    assert "subscription 24" in said
    assert "subscription 25" not in said
    assert "… and 15 more" in said
    staff = User.objects.create_user("staff", is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(codename__in=["view_backend", "delete_backend"]))
    client.force_login(staff)
    said = text(client.get(page))
    assert "40 subscriptions use it" in said
    assert "subscription 24" not in said
