"""What an operator sees and does."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from django.contrib.auth.models import User

from dsn_telegram import connecting, updates
from dsn_telegram.models import ConnectionRequest

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("telegram", "pages")]

LIST = "/admin/dsn_telegram/connectionrequest/"


@pytest.fixture
def operator(client: Any) -> Any:
    client.force_login(User.objects.create_superuser("root"))
    return client


def press_start(token: str, chat: int = 42) -> None:
    chat_of, sender = {"id": chat, "type": "private"}, {"id": chat, "first_name": "Ann", "username": "ann"}
    updates.reply_to({"message": {"chat": chat_of, "from": sender, "text": f"/start {token}"}}, "telegram")


def made_link(operator: Any, user: Any) -> str:
    page = operator.post(f"{LIST}add/", {"user": user.pk, "messenger": "telegram"})
    assert page.status_code == 200
    (found,) = re.findall(r'href="https://t\.me/cinema_bot\?start=([^"]+)"', html.unescape(page.content.decode()))
    assert "no-store" in page.headers["Cache-Control"]
    return str(found)


def test_an_operator_makes_a_link_that_is_shown_once_and_confirms_it(operator: Any, ann: Any, address_of: Any) -> None:
    token = made_link(operator, ann)
    (row,) = ConnectionRequest.objects.all()
    assert row.user == ann
    for page in (LIST, f"{LIST}{row.pk}/change/"):
        assert token not in operator.get(page).content.decode()
    press_start(token)
    shown = operator.get(LIST).content.decode()
    assert "Ann (@ann)" in shown
    assert "to be confirmed" in shown
    assert address_of(ann) == ""
    operator.post(LIST, {"action": "confirm", "_selected_action": [row.pk]})
    assert address_of(ann) == "42"
    assert "connected" in operator.get(LIST).content.decode()


def test_what_nobody_started_cannot_be_confirmed(operator: Any, ann: Any, address_of: Any) -> None:
    made_link(operator, ann)
    key = ConnectionRequest.objects.get().pk
    page = operator.post(LIST, {"action": "confirm", "_selected_action": [key]}, follow=True)
    assert "0 accounts were connected." in page.content.decode()
    assert address_of(ann) == ""


def test_without_the_bot_there_is_no_link_but_a_reason(operator: Any, ann: Any, api: Any) -> None:
    api.refuse(401, "Unauthorized", chat="getme")
    page = operator.post(f"{LIST}add/", {"user": ann.pk, "messenger": "telegram"})
    assert "does not say the bot" in html.unescape(page.content.decode())
    assert not ConnectionRequest.objects.exists()


def test_rows_are_not_edited(operator: Any, ann: Any) -> None:
    _, row = connecting.make_link(ann, "telegram")
    operator.post(f"{LIST}{row.pk}/change/", {"user": 1, "messenger": "other", "chat": "666"})
    row.refresh_from_db()
    assert (row.user, row.messenger, row.chat) == (ann, "telegram", "")


def test_who_may_only_look_makes_no_link_and_confirms_nothing(client: Any, ann: Any, address_of: Any) -> None:
    from django.contrib.auth.models import Permission

    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_connectionrequest"))
    client.force_login(viewer)
    link, row = connecting.make_link(ann, "telegram")
    press_start(link.partition("start=")[2])
    assert client.get(LIST).status_code == 200
    assert client.post(f"{LIST}add/", {"user": ann.pk, "messenger": "telegram"}).status_code == 403
    client.post(LIST, {"action": "confirm", "_selected_action": [row.pk]})
    assert address_of(ann) == ""
