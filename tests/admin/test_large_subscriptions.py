"""Subscriptions with more users and addresses than a page can hold."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.test import Client

from dsn_core.admin.members import MAX_ADDRESSES, MAX_USERS
from dsn_core.models import Backend, Subscription, SubscriptionAddress, Trigger
from tests.admin.pages import addresses, errors, text, url
from tests.testapp.models import Movie


@pytest.fixture
def subscription(plain_backend: Backend) -> Subscription:
    trigger = Trigger.objects.define("post_save", action_object=Movie)
    return trigger.subscribe("x", backends=[plain_backend])


@pytest.fixture
def crowd(db: None) -> list[User]:
    return User.objects.bulk_create(User(username=f"user{number}") for number in range(MAX_USERS + 1))


def test_no_page_lists_all_users(client: Client, subscription: Subscription, crowd: list[User]) -> None:
    subscription.users.set(crowd[:1])
    for page in (url(Subscription, "add"), url(Subscription, "change", subscription.pk)):
        content = client.get(page).content.decode()
        assert "admin-autocomplete" in content
        assert 'id="add_id_users"' in content
        assert "user7" not in content


@pytest.mark.parametrize("searchable", [True, False])
def test_without_a_searchable_user_admin_users_are_named_by_key(
    client: Client, subscription: Subscription, crowd: list[User], searchable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if searchable:
        admin.site.unregister(User)
    else:
        monkeypatch.setattr(UserAdmin, "search_fields", ())
    try:
        page = client.get(url(Subscription, "change", subscription.pk)).content.decode()
        assert 'name="users"' in page
        assert '<select name="users"' not in page
        data = {
            "trigger": subscription.trigger_id,
            "name": "x",
            "users": f"{crowd[0].pk},{crowd[1].pk}",
            "priority": "1",
            **addresses(),
        }
        assert client.post(url(Subscription, "change", subscription.pk), data).status_code == 302
        assert list(subscription.users.order_by("pk")) == crowd[:2]
    finally:
        if searchable:
            admin.site.register(User, UserAdmin)


def test_more_users_than_fit_are_a_number_and_stay(
    client: Client, subscription: Subscription, crowd: list[User]
) -> None:
    subscription.users.set(crowd)
    page = client.get(url(Subscription, "change", subscription.pk))
    assert f"{MAX_USERS + 1} · Search, add and remove on a separate page" in text(page)
    assert url(Subscription, "users", subscription.pk) in page.content.decode()
    assert "user7" not in page.content.decode()
    data = {"trigger": subscription.trigger_id, "name": "renamed", "priority": "1", **addresses()}
    assert client.post(url(Subscription, "change", subscription.pk), data).status_code == 302
    subscription.refresh_from_db()
    assert (subscription.name, subscription.users.count()) == ("renamed", MAX_USERS + 1)


def test_a_full_page_can_be_saved(client: Client, subscription: Subscription, crowd: list[User]) -> None:
    """Django refuses forms of more than DATA_UPLOAD_MAX_NUMBER_FIELDS fields."""
    rows = SubscriptionAddress.objects.bulk_create(
        SubscriptionAddress(subscription=subscription, messenger="pager", address=str(number))
        for number in range(MAX_ADDRESSES)
    )
    more: dict[str, Any] = {}
    for number, row in enumerate(rows):
        more |= {f"addresses-{number}-id": row.pk, f"addresses-{number}-subscription": subscription.pk}
        more |= {f"addresses-{number}-DELETE": "on"} if number else {}
    data = {
        "trigger": subscription.trigger_id,
        "name": "x",
        "backends": [backend.pk for backend in subscription.backends.all()],
        "users": [user.pk for user in crowd[:MAX_USERS]],
        "priority": "1",
        **addresses(*(("pager", row.address) for row in rows), stored=len(rows), **more),
    }
    assert client.post(url(Subscription, "change", subscription.pk), data).status_code == 302
    assert (subscription.users.count(), subscription.addresses.count()) == (MAX_USERS, 1)


def test_more_addresses_than_fit_are_a_number_and_still_checked(client: Client, subscription: Subscription) -> None:
    SubscriptionAddress.objects.bulk_create(
        SubscriptionAddress(subscription=subscription, messenger="pager", address=str(number))
        for number in range(MAX_ADDRESSES + 1)
    )
    page = client.get(url(Subscription, "change", subscription.pk))
    assert f"{MAX_ADDRESSES + 1} · Search, add and remove on a separate page" in text(page)
    assert url(Subscription, "addresses", subscription.pk) in page.content.decode()
    assert "addresses-0-address" not in page.content.decode()
    other = Backend.objects.define("console", "simple")
    data = {"trigger": subscription.trigger_id, "name": "x", "backends": [other.pk], "priority": "1"}
    found = errors(client.post(url(Subscription, "change", subscription.pk), data))
    assert "no backend of the subscription sends by it" in found["backends"]
    data["backends"] = [backend.pk for backend in subscription.backends.all()]
    assert client.post(url(Subscription, "change", subscription.pk), data).status_code == 302
    assert subscription.addresses.count() == MAX_ADDRESSES + 1


def form_of(subscription: Subscription, **more: Any) -> dict[str, Any]:
    backends = [backend.pk for backend in subscription.backends.all()]
    return {"trigger": subscription.trigger_id, "name": "x", "backends": backends, "priority": "1", **more}


def test_a_form_that_left_them_to_their_page_removes_none_when_they_fit_again(
    client: Client, subscription: Subscription, crowd: list[User]
) -> None:
    """Between loading and saving the form, another user removed most of them."""
    subscription.users.set(crowd)
    SubscriptionAddress.objects.bulk_create(
        SubscriptionAddress(subscription=subscription, messenger="pager", address=str(number))
        for number in range(MAX_ADDRESSES + 1)
    )
    page = client.get(url(Subscription, "change", subscription.pk)).content.decode()
    marks = {f"{kind}_elsewhere": "1" for kind in ("users", "addresses")}
    assert all(f'type="hidden" name="{mark}" value="1"' in page for mark in marks)
    subscription.users.set(crowd[:5])
    SubscriptionAddress.objects.filter(address__gt="1").delete()
    left = subscription.addresses.count()
    assert 0 < left < MAX_ADDRESSES
    other = Backend.objects.define("console", "simple")
    refused = client.post(
        url(Subscription, "change", subscription.pk), {**form_of(subscription), **marks, "backends": [other.pk]}
    )
    assert "no backend of the subscription sends by it" in errors(refused)["backends"]
    assert client.post(url(Subscription, "change", subscription.pk), form_of(subscription, **marks)).status_code == 302
    assert (subscription.users.count(), subscription.addresses.count()) == (5, left)


def test_a_form_whose_users_became_too_many_says_that_it_left_them_alone(
    client: Client, subscription: Subscription, crowd: list[User]
) -> None:
    subscription.users.set(crowd)
    data = form_of(subscription, users=[crowd[0].pk], name="renamed", **addresses())
    page = client.post(url(Subscription, "change", subscription.pk), data, follow=True)
    assert "The users were not changed: there are now too many for this page." in text(page)
    subscription.refresh_from_db()
    assert (subscription.name, subscription.users.count()) == ("renamed", MAX_USERS + 1)


def test_deleting_a_large_subscription_loads_none_of_its_users(
    client: Client, subscription: Subscription, crowd: list[User]
) -> None:
    subscription.users.set(crowd)
    for model, row in ((Subscription, subscription), (Trigger, subscription.trigger)):
        page = text(client.get(url(model, "delete", row.pk)))
        assert "relationship" not in page
    client.post(url(Trigger, "delete", subscription.trigger_id), {"post": "yes"})
    assert not Subscription.objects.exists()
