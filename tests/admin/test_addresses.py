"""Users' addresses: their list, and the inline of a project's own admin of users."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from dsn_core.admin import UserAddressInline, choices
from dsn_core.models import Address
from tests.admin.conftest import Pager
from tests.admin.pages import errors, options, text, url

if TYPE_CHECKING:
    from pytest_django import Settings


@pytest.fixture(autouse=True)
def _has_addresses(plugin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pager, "address_path", "dsn_address")


@pytest.fixture
def people(db: None) -> list[User]:
    return [User.objects.create_user(name, f"{name}@example.org") for name in ("ann", "bob", "eve")]


def test_an_address_is_added_to_a_user(client: Client, people: list[User]) -> None:
    ann = people[0]
    page = client.get(url(Address, "add"))
    assert "admin-autocomplete" in page.content.decode()
    assert "bob" not in page.content.decode()
    offered = options(page, "messenger")
    assert {"pager", "night"} <= set(offered)
    assert "console" not in offered
    given = {"user": ann.pk, "messenger": "night", "address": " +49 30 901820 "}
    assert client.post(url(Address, "add"), given).status_code == 302
    made = Address.objects.get()
    assert (made.user, made.messenger, made.address, made.verified_at) == (ann, "night", "+49 30 901820", None)
    assert "already exists" in str(errors(client.post(url(Address, "add"), given)))
    assert "valid choice" in errors(client.post(url(Address, "add"), {**given, "user": "x"}))["user"]
    refused = client.post(url(Address, "add"), {**given, "messenger": "console"})
    assert "keeps no addresses here" in errors(refused)["messenger"]
    refused = client.post(url(Address, "add"), {**given, "messenger": "pager", "address": "a\0b"})
    assert "Null characters" in errors(refused)["address"]


def test_an_address_that_is_changed_is_not_verified_any_more(client: Client, people: list[User]) -> None:
    now = timezone.now()
    row = Address.objects.create(user=people[0], messenger="pager", address="1", verified_at=now)
    page = url(Address, "change", row.pk)
    assert '<select name="messenger"' not in client.get(page).content.decode()
    assert client.post(page, {"address": "1"}).status_code == 302
    row.refresh_from_db()
    assert row.verified_at == now
    assert client.post(page, {"address": "2", "messenger": "night", "user": people[1].pk}).status_code == 302
    row.refresh_from_db()
    assert (row.user, row.messenger, row.address, row.verified_at) == (people[0], "pager", "2", None)


def test_a_row_whose_plugin_is_gone_can_be_changed_and_deleted(
    client: Client, people: list[User], uninstall: Callable[[], None]
) -> None:
    row = Address.objects.create(user=people[0], messenger="pager", address="1")
    uninstall()
    assert client.post(url(Address, "change", row.pk), {"address": "2"}).status_code == 302
    assert Address.objects.get().address == "2"
    assert client.post(url(Address, "delete", row.pk), {"post": "yes"}).status_code == 302
    assert not Address.objects.exists()


def test_without_a_searchable_user_admin_a_user_is_named_by_key(client: Client, people: list[User]) -> None:
    admin.site.unregister(User)
    try:
        assert '<select name="user"' not in client.get(url(Address, "add")).content.decode()
        given = {"user": people[1].pk, "messenger": "pager", "address": "1"}
        assert client.post(url(Address, "add"), given).status_code == 302
        assert Address.objects.get().user == people[1]
    finally:
        admin.site.register(User, UserAdmin)


@pytest.mark.parametrize("term", ["ann", "ann@exam", "555"])
def test_an_address_is_found(client: Client, people: list[User], term: str) -> None:
    Address.objects.create(user=people[0], messenger="pager", address="+49 555")
    Address.objects.create(user=people[1], messenger="pager", address="+49 666")
    page = client.get(url(Address, "changelist"), {"q": term})
    assert [row.user.username for row in page.context["cl"].queryset] == ["ann"]
    assert "+49 555" in text(page)


def test_where_all_addresses_are_elsewhere_the_list_is_not_in_the_index(client: Client, settings: Settings) -> None:
    address = url(Address, "changelist")
    assert f'href="{address}"' in client.get(reverse("admin:index")).content.decode()
    stored = [name for name, _label in choices.ALIASES_WITH_ADDRESSES.choices()]
    settings.DSN = {**settings.DSN, "ADDRESSES": dict.fromkeys(stored, "email")}
    assert f'href="{address}"' not in client.get(reverse("admin:index")).content.decode()


# On the page of a user


@pytest.fixture
def with_inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a project does in its own class. The one that is registered has its URLs already."""
    monkeypatch.setattr(UserAdmin, "inlines", [UserAddressInline])


def posted(user: User, *rows: dict[str, Any], stored: int = 0) -> dict[str, Any]:
    given: dict[str, Any] = {"username": user.username, "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    given |= {"dsn_addresses-TOTAL_FORMS": len(rows), "dsn_addresses-INITIAL_FORMS": stored}
    for number, row in enumerate(rows):
        given |= {f"dsn_addresses-{number}-{name}": value for name, value in row.items()}
    return given


@pytest.mark.usefixtures("with_inline")
def test_a_users_addresses_are_edited_on_the_users_page(client: Client, people: list[User]) -> None:
    ann = people[0]
    page = url(User, "change", ann.pk)
    assert set(options(client.get(page), "dsn_addresses-__prefix__-messenger")) >= {"", "pager", "night"}
    made = posted(ann, {"messenger": "pager", "address": "1"}, {"messenger": "night", "address": ""})
    assert client.post(page, made).status_code == 302
    rows = list(Address.objects.order_by("pk"))
    assert [(row.user, row.messenger, row.address) for row in rows] == [(ann, "pager", "1"), (ann, "night", "")]
    kept = {"id": rows[0].pk, "messenger": "pager", "address": "2"}
    gone = {"id": rows[1].pk, "messenger": "night", "address": "", "DELETE": "on"}
    assert client.post(page, posted(ann, kept, gone, stored=2)).status_code == 302
    assert Address.objects.get().address == "2"
    twice = posted(ann, {**kept}, {"messenger": "pager", "address": "3"}, stored=1)
    refused = client.post(page, twice)
    assert {"dsn_addresses", "dsn_addresses-1-__all__"} & set(errors(refused)), errors(refused)
    assert Address.objects.get().address == "2"


@pytest.mark.usefixtures("with_inline")
def test_who_may_change_users_only_sees_no_addresses(people: list[User]) -> None:
    Address.objects.create(user=people[0], messenger="pager", address="+49 555")
    staff = User.objects.create_user("staff", is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(codename__in=["change_user", "view_user"]))
    client = Client()
    client.force_login(staff)
    page = url(User, "change", people[0].pk)
    assert "+49 555" not in client.get(page).content.decode()
    staff.user_permissions.add(Permission.objects.get(codename="view_address"))
    assert "+49 555" in client.get(page).content.decode()
    client.post(page, posted(people[0], {"messenger": "night", "address": "1"}))
    assert [row.messenger for row in Address.objects.all()] == ["pager"]
