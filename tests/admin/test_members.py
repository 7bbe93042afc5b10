"""The pages of a subscription's receivers: any number of them is searched, added and removed."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from dsn_core.admin.members import MAX_FOUND, MAX_LINES, PER_PAGE
from dsn_core.models import Backend, Subscription, SubscriptionAddress, Trigger
from tests.admin.pages import text, url
from tests.testapp.models import Movie


@pytest.fixture
def subscription(plain_backend: Backend) -> Subscription:
    return Trigger.objects.define("post_save", action_object=Movie).subscribe("x", backends=[plain_backend])


@pytest.fixture
def crowd(db: None) -> list[User]:
    return User.objects.bulk_create(User(username=f"user{number:04}") for number in range(1_000))


@pytest.fixture
def users(subscription: Subscription) -> str:
    return url(Subscription, "users", subscription.pk)


@pytest.fixture
def addresses(subscription: Subscription) -> str:
    return url(Subscription, "addresses", subscription.pk)


def ticked(page: Any, name: str = "ticked") -> list[str]:
    return re.findall(rf'type="checkbox" name="{name}" value="([^"]+)"', page.content.decode())


def staff(client: Client, *codenames: str) -> None:
    person = User.objects.create_user(f"staff{User.objects.count()}", is_staff=True)
    found = Permission.objects.filter(codename__in=codenames)
    assert len(found) == len(codenames)
    person.user_permissions.set(found)
    client.force_login(person)


def test_pages_show_all_of_many(client: Client, subscription: Subscription, crowd: list[User], users: str) -> None:
    subscription.users.set(crowd[:950])
    page = client.get(users)
    assert len(ticked(page)) == PER_PAGE
    assert "950 of 950" in text(page)
    assert 'href="?p=2"' in page.content.decode()
    seen = [key for number in range(1, 11) for key in ticked(client.get(users, {"p": number}))]
    assert seen == [str(user.pk) for user in crowd[:950]]
    # What is no page is one all the same.
    assert ticked(client.get(users, {"p": "99"})) == ticked(client.get(users, {"p": "10"}))
    assert ticked(client.get(users, {"p": "x"})) == ticked(page)


def test_more_users_cost_no_more_queries_and_no_larger_pages(
    client: Client, subscription: Subscription, crowd: list[User], users: str
) -> None:
    def look() -> tuple[int, int]:
        with CaptureQueriesContext(connection) as captured:
            size = len(client.get(users, {"q": "user", "find": "user"}).content)
        return len(captured), size

    subscription.users.set(crowd[:300])
    look()
    few, small = look()
    subscription.users.set(crowd[:900])
    many, large = look()
    assert many == few < 15
    assert large < small + 1_000


def test_users_are_searched(client: Client, subscription: Subscription, crowd: list[User], users: str) -> None:
    subscription.users.set(crowd[:500])
    page = client.get(users, {"q": "user04"})
    assert ticked(page) == [str(user.pk) for user in crowd[400:500]]
    assert "100 of 500" in text(page)
    assert "p=2&q" not in page.content.decode()
    assert ticked(client.get(users, {"q": "user05"})) == []
    page = client.get(users, {"q": "user0"})
    assert 'href="?q=user0&amp;p=2"' in page.content.decode()


def test_those_that_are_ticked_are_removed(
    client: Client, subscription: Subscription, crowd: list[User], users: str
) -> None:
    subscription.users.set(crowd[:500])
    gone = [str(user.pk) for user in crowd[100:150]]
    page = client.post(
        f"{users}?p=2", {"remove": "x", "ticked": [*gone, str(crowd[900].pk), "abc", "9" * 30]}, follow=True
    )
    assert page.redirect_chain == [(f"{users}?p=2", 302)]
    assert "50 were removed." in text(page)
    assert set(subscription.users.all()) == set(crowd[:100] + crowd[150:500])
    (entry,) = LogEntry.objects.all()
    assert (entry.object_id, entry.get_change_message()) == (str(subscription.pk), "Users: 50 were removed.")
    assert "0 were removed." in text(client.post(users, {"remove": "x"}, follow=True))
    assert LogEntry.objects.count() == 1


def test_others_are_found_and_added(client: Client, subscription: Subscription, crowd: list[User], users: str) -> None:
    subscription.users.set(crowd[:405])
    page = client.get(users, {"find": "user04"})
    found = ticked(page, "found")
    assert len(found) == MAX_FOUND
    assert set(found) <= {str(user.pk) for user in crowd[405:500]}
    assert f"The first {MAX_FOUND} are shown" in text(page)
    page = client.post(f"{users}?find=user04", {"add": "x", "lines": "", "found": found[:3]}, follow=True)
    assert "3 were added." in text(page)
    assert subscription.users.count() == 408
    page = client.post(users, {"add": "x", "lines": "user0999", "found": found[:4]}, follow=True)
    assert "2 were added. 3 were there already." in text(page)
    assert "No other user was found." in text(client.get(users, {"find": "nobody"}))


def test_many_are_added_by_their_names_and_keys(
    client: Client, subscription: Subscription, crowd: list[User], users: str
) -> None:
    subscription.users.set(crowd[:10])
    lines = [user.username for user in crowd[:900]] + [f"#{crowd[950].pk}", "", f"  {crowd[951].username}  "]
    page = client.post(users, {"add": "x", "lines": "\r\n".join(lines)}, follow=True)
    assert "892 were added. 10 were there already." in text(page)
    assert set(subscription.users.all()) == {*crowd[:900], crowd[950], crowd[951]}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("user0001\nnobody\n#0\n#x\n#" + "9" * 30, "These users do not exist: nobody, #0, #x, #999"),
        ("\n".join(f"nobody{number}" for number in range(30)), "nobody9, … and 20 more"),
        ("user0001\nuser\x000", "Null characters are not allowed"),
        (" \n", "required"),
        ("\n".join(map(str, range(MAX_LINES + 1))), "10001 lines, and 10000 can be added at once"),
    ],
    ids=["unknown", "many", "NUL", "nothing", "too many"],
)
def test_what_cannot_be_added_is_named_and_nothing_is_added(
    client: Client, subscription: Subscription, crowd: list[User], users: str, lines: str, said: str
) -> None:
    page = client.post(users, {"add": "x", "lines": lines})
    assert page.status_code == 200
    assert said in text(page)
    assert not subscription.users.exists()
    # What was typed is still there.
    assert lines.strip().split("\n")[0] in page.content.decode()


def test_addresses_are_searched_added_and_removed(client: Client, subscription: Subscription, addresses: str) -> None:
    lines = [f"{number:04}@example.org" for number in range(1_500)]
    page = client.post(addresses, {"add": "x", "messenger": "pager", "lines": "\n".join([*lines, *lines])}, follow=True)
    assert "1500 were added." in text(page)
    page = client.post(addresses, {"add": "x", "messenger": "pager", "lines": f"{lines[3]}\nnew"}, follow=True)
    assert "1 was added. 1 was there already." in text(page)
    page = client.get(addresses, {"q": "099"})
    assert "12 of 1,501" in text(page)
    assert "pager: 0990@example.org" in text(page)
    page = client.post(f"{addresses}?q=099", {"remove": "x", "ticked": ticked(page)}, follow=True)
    assert "12 were removed." in text(page)
    assert "0 of 1,489" in text(page)
    assert subscription.addresses.count() == 1_489


@pytest.mark.parametrize(
    ("messenger", "lines", "said"),
    [
        ("console", "a", "no backend of the subscription sends by it"),
        ("nobody", "a", "Select a valid choice"),
        ("pager", "x" * 501, "An address has at most 500 characters: xxx"),
        ("pager", "", "required"),
    ],
)
def test_addresses_that_cannot_work(
    client: Client, subscription: Subscription, addresses: str, messenger: str, lines: str, said: str
) -> None:
    page = client.post(addresses, {"add": "x", "messenger": messenger, "lines": f"good\n{lines}" if lines else ""})
    assert page.status_code == 200
    assert said in text(page)
    assert not SubscriptionAddress.objects.exists()


def test_addresses_of_another_subscription_stay(client: Client, subscription: Subscription, addresses: str) -> None:
    other = subscription.trigger.subscribe("other", addresses=[("pager", "1")])
    client.post(addresses, {"remove": "x", "ticked": [other.addresses.get().pk]})
    assert other.addresses.exists()


def test_the_view_permission_changes_nothing(
    client: Client, subscription: Subscription, crowd: list[User], users: str, addresses: str
) -> None:
    subscription.users.set(crowd[:2])
    staff(client, "view_subscription", "view_user")
    for address in (users, addresses):
        page = client.get(address)
        assert page.status_code == 200
        assert ticked(page) == []
        assert not re.search('name="(add|remove)"', page.content.decode())
        assert client.post(address, {"remove": "x", "ticked": [crowd[0].pk]}).status_code == 403
        assert client.post(address, {"add": "x", "lines": "user0005", "messenger": "pager"}).status_code == 403
    assert subscription.users.count() == 2
    assert not subscription.addresses.exists()
    staff(client)
    assert client.get(users).status_code == 403


def test_without_permission_to_see_users_they_are_shown_by_their_keys(
    client: Client, subscription: Subscription, crowd: list[User], users: str
) -> None:
    subscription.users.set(crowd[:3])
    staff(client, "change_subscription", "view_subscription")
    page = client.get(users, {"find": "user", "q": f"#{crowd[1].pk}"})
    assert "user0" not in text(page)
    assert ticked(page) == [str(crowd[1].pk)]
    assert ticked(page, "found") == []
    assert "These users do not exist: user0005" in text(client.post(users, {"add": "x", "lines": "user0005"}))
    client.post(users, {"add": "x", "lines": f"{crowd[5].pk}\n#{crowd[6].pk}"})
    client.post(users, {"remove": "x", "ticked": [crowd[0].pk]})
    assert set(subscription.users.all()) == {crowd[1], crowd[2], crowd[5], crowd[6]}


def test_without_an_admin_of_users_they_are_named_by_key(
    client: Client, subscription: Subscription, crowd: list[User], users: str
) -> None:
    subscription.users.set(crowd[:2])
    admin.site.unregister(User)
    try:
        page = client.get(users)
        client.post(users, {"add": "x", "lines": str(crowd[7].pk)})
    finally:
        admin.site.register(User, UserAdmin)
    assert f"#{crowd[0].pk}" in text(page)
    assert subscription.users.count() == 3


def test_a_subscription_that_is_gone(client: Client, plugin: Any) -> None:
    for kind in ("users", "addresses"):
        for key in ("999", "abc", "9" * 30):
            assert client.get(url(Subscription, kind, key)).status_code == 404


def test_changes_need_a_csrf_token(root: User, subscription: Subscription, crowd: list[User], users: str) -> None:
    subscription.users.set(crowd[:2])
    guarded = Client(enforce_csrf_checks=True)
    guarded.force_login(root)
    assert guarded.post(users, {"remove": "x", "ticked": [crowd[0].pk]}).status_code == 403
    assert subscription.users.count() == 2


def test_names_are_escaped(client: Client, subscription: Subscription, users: str, addresses: str) -> None:
    subscription.users.add(User.objects.create(username="<b>ann"))
    SubscriptionAddress.objects.create(subscription=subscription, messenger="pager", address="<b>110")
    for address in (users, addresses):
        page = client.get(address, {"q": "<b>", "find": "<b>"}).content.decode()
        assert "<b>" not in page
        assert "&lt;b&gt;" in page
