"""The built-in profiles."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from dsn_core.models import Profile
from tests.admin.pages import errors, text, url


@pytest.fixture
def people(db: None) -> list[User]:
    return [User.objects.create_user(name, f"{name}@example.org") for name in ("ann", "bob", "eve")]


def test_a_profile_is_made_for_a_user(client: Client, people: list[User]) -> None:
    ann = people[0]
    page = client.get(url(Profile, "add")).content.decode()
    assert "admin-autocomplete" in page
    assert "bob" not in page
    given = {"user": ann.pk, "phone": "+49 30 901820", "telegram_chat_id": "7"}
    assert client.post(url(Profile, "add"), given).status_code == 302
    made = Profile.objects.get()
    assert (made.user, made.phone, made.telegram_chat_id) == (ann, "+49 30 901820", "7")
    assert "already exists" in errors(client.post(url(Profile, "add"), given))["user"]
    assert "valid choice" in errors(client.post(url(Profile, "add"), {**given, "user": "x"}))["user"]


def test_without_a_searchable_user_admin_a_user_is_named_by_key(client: Client, people: list[User]) -> None:
    admin.site.unregister(User)
    try:
        assert "<select" not in client.get(url(Profile, "add")).content.decode().split('id="content"')[1]
        assert client.post(url(Profile, "add"), {"user": people[1].pk}).status_code == 302
        assert Profile.objects.get().user == people[1]
    finally:
        admin.site.register(User, UserAdmin)


@pytest.mark.parametrize("term", ["ann", "ann@exam", "555", "4711"])
def test_a_profile_is_found(client: Client, people: list[User], term: str) -> None:
    Profile.objects.create(user=people[0], phone="+49 555", telegram_chat_id="4711")
    Profile.objects.create(user=people[1], phone="+49 666", telegram_chat_id="4712")
    page = client.get(url(Profile, "changelist"), {"q": term})
    assert [str(row) for row in page.context["cl"].queryset] == ["ann"]
    assert "+49 555" in text(page)


def test_a_project_with_a_profile_of_its_own_does_not_see_ours(client: Client, settings: Any) -> None:
    address = url(Profile, "changelist")
    assert f'href="{address}"' in client.get(reverse("admin:index")).content.decode()
    settings.DSN = {"PROFILE_MODEL": "testapp.Profile"}
    assert f'href="{address}"' not in client.get(reverse("admin:index")).content.decode()
