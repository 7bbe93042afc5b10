"""How a user's Telegram account becomes an address, and how it does not."""

from __future__ import annotations

import datetime
import html
import re
import threading
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from dsn_core import store_address
from dsn_telegram import connecting, updates
from dsn_telegram.models import ConnectionRequest

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("telegram", "pages")]

CONNECT = "/telegram/telegram/connect/"
CONFIRM = "/telegram/telegram/confirm/"
WEBHOOK = "/telegram/telegram/webhook/"
SECRET = "webhook-canary_secret"


def update(text: str, chat: int = 42, *, kind: str = "private", **sender: Any) -> dict[str, Any]:
    """A message to the bot, as Telegram says it."""
    who = {"id": chat, "first_name": "Ann", "last_name": "Smith", "username": "ann", **sender}
    return {"update_id": 1, "message": {"message_id": 1, "chat": {"id": chat, "type": kind}, "from": who, "text": text}}


def said(text: str, chat: int = 42, **given: Any) -> str:
    """What the bot answers; empty when it says nothing."""
    reply = updates.reply_to(update(text, chat, **given), "telegram")
    return reply["text"] if reply else ""


def new_token(user: Any) -> str:
    """The token of a fresh link, as the user's page shows it."""
    client = Client()
    client.force_login(user)
    page = client.get(CONNECT).content.decode()
    (link,) = re.findall(r'href="(https://t\.me/[^"]+)"', page)
    found = re.fullmatch(r"https://t\.me/cinema_bot\?start=([A-Za-z0-9_-]{22,64})", html.unescape(link))
    assert found
    return found[1]


def page_of(user: Any, *, press: str = "") -> str:
    """What the user sees on the page that confirms, after pressing a button of it."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    page = client.get(CONFIRM)
    if press:
        content = page.content.decode()
        (token,) = set(re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', content))
        (key,) = re.findall(r'name="request" value="(\d+)"', content)
        page = client.post(CONFIRM, {"csrfmiddlewaretoken": token, "request": key, press: "1"}, follow=True)
    assert page.status_code == 200
    return html.unescape(page.content.decode())


def test_a_user_connects_step_by_step(ann: Any, address_of: Any, dsn: Any) -> None:
    token = new_token(ann)
    answer = said(f"/start {token}")
    assert "confirm on the site" in answer
    assert "http://testserver/telegram/telegram/confirm/" in answer
    assert "“ann”" in answer
    # Not yet: somebody else may have pressed Start.
    assert address_of(ann) == ""
    assert "Ann Smith (@ann)" in page_of(ann)
    assert "Your messages go to the Telegram account" in page_of(ann, press="confirm")
    assert address_of(ann) == "42"


def test_what_was_confirmed_is_a_verified_address(ann: Any) -> None:
    from dsn_core.models import Address

    store_address(ann, "telegram", "41")
    said(f"/start {new_token(ann)}")
    page_of(ann, press="confirm")
    row = Address.objects.get(user=ann)
    assert (row.messenger, row.address) == ("telegram", "42")
    assert timezone.now() - row.verified_at < datetime.timedelta(minutes=5)


def test_only_a_digest_of_the_token_is_stored(ann: Any) -> None:
    token = new_token(ann)
    assert len(token) * 6 >= 128
    (row,) = ConnectionRequest.objects.values()
    assert token not in repr(row)
    assert row["token_digest"] == connecting.digest(token)
    assert new_token(ann) != token
    assert datetime.timedelta(minutes=9) < row["expires_at"] - timezone.now() <= datetime.timedelta(minutes=10)


def test_the_page_with_the_link_is_for_its_user_only_and_is_not_kept(client: Any, ann: Any) -> None:
    assert client.get(CONNECT).headers["Location"].startswith("/login/")
    assert client.get(CONFIRM).headers["Location"].startswith("/login/")
    assert not ConnectionRequest.objects.exists()
    client.force_login(ann)
    page = client.get(CONNECT)
    assert "no-store" in page.headers["Cache-Control"]
    assert "noreferrer" in page.content.decode()
    assert client.post(CONNECT).status_code == 405


# Refused


def refused(token: str, chat: int = 42) -> bool:
    return "cannot be used" in said(f"/start {token}", chat)


@pytest.mark.parametrize("token", ["x" * 43, "short", "a';DROP--", "x" * 65, "ünïcode"])
def test_a_forged_token_is_refused(ann: Any, token: str) -> None:
    new_token(ann)
    assert refused(token)
    assert not ConnectionRequest.objects.exclude(started_at=None).exists()


def test_a_digest_is_no_token(ann: Any) -> None:
    new_token(ann)
    assert refused(ConnectionRequest.objects.get().token_digest)


def test_a_used_token_is_refused(ann: Any, address_of: Any) -> None:
    token = new_token(ann)
    said(f"/start {token}")
    assert refused(token, chat=66)
    page_of(ann, press="confirm")
    assert refused(token, chat=66)
    assert refused(token)
    assert address_of(ann) == "42"


def test_an_update_that_telegram_repeats_is_answered_the_same(ann: Any) -> None:
    token = new_token(ann)
    assert said(f"/start {token}") == said(f"/start {token}")
    assert ConnectionRequest.objects.count() == 1


def test_a_stale_token_is_refused(ann: Any) -> None:
    token = new_token(ann)
    ConnectionRequest.objects.update(expires_at=timezone.now() - datetime.timedelta(seconds=1))
    assert refused(token)


def test_a_confirmation_that_comes_too_late_connects_nothing(ann: Any, address_of: Any) -> None:
    said(f"/start {new_token(ann)}")
    (row,) = connecting.to_confirm(ann, "telegram")
    ConnectionRequest.objects.update(expires_at=timezone.now() - datetime.timedelta(seconds=1))
    assert connecting.confirm(ann, row.pk) is None
    assert address_of(ann) == ""
    assert "Nobody has pressed Start" in page_of(ann)


def test_a_stolen_link_shows_whose_account_it_was_and_connects_nothing(ann: Any, address_of: Any) -> None:
    said(f"/start {new_token(ann)}", chat=666, first_name="Eve", last_name="", username="eve")
    assert "Eve (@eve)" in page_of(ann)
    assert address_of(ann) == ""
    assert "Nobody has pressed Start" in page_of(ann, press="refuse")
    assert address_of(ann) == ""
    assert not ConnectionRequest.objects.exists()


def test_nobody_confirms_for_somebody_else(ann: Any, bob: Any, address_of: Any) -> None:
    said(f"/start {new_token(ann)}", chat=666)
    key = ConnectionRequest.objects.get().pk
    client = Client()
    client.force_login(bob)
    assert "666" not in client.get(CONFIRM).content.decode()
    client.post(CONFIRM, {"request": key, "confirm": "1"})
    client.post(CONFIRM, {"request": key, "refuse": "1"})
    for nonsense in ("", "x", "-1", "9" * 30):
        client.post(CONFIRM, {"request": nonsense, "confirm": "1"})
    assert (address_of(ann), address_of(bob)) == ("", "")
    assert connecting.to_confirm(ann, "telegram")


def test_another_site_cannot_confirm(ann: Any, address_of: Any) -> None:
    said(f"/start {new_token(ann)}")
    client = Client(enforce_csrf_checks=True)
    client.force_login(ann)
    key = ConnectionRequest.objects.get().pk
    assert client.post(CONFIRM, {"request": key, "confirm": "1"}).status_code == 403
    assert client.post("/telegram/telegram/disconnect/").status_code == 403
    assert client.get(CONFIRM, {"request": key, "confirm": "1"}).status_code == 200
    assert address_of(ann) == ""


def test_a_name_that_tries_to_be_markup_is_shown_as_a_name(ann: Any) -> None:
    said(f"/start {new_token(ann)}", first_name="<script>alert(1)</script>", last_name="\u202egnp\n", username="x<y")
    client = Client()
    client.force_login(ann)
    page = client.get(CONFIRM).content.decode()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "\u202e" not in page
    assert "x&lt;y" not in page


def test_old_links_stop_to_work_when_there_are_many(ann: Any) -> None:
    tokens = [new_token(ann) for _ in range(connecting.MAX_OPEN + 1)]
    assert ConnectionRequest.objects.count() == connecting.MAX_OPEN
    assert refused(tokens[0])
    assert not refused(tokens[1])


def test_to_be_connected_ends_all_other_links(ann: Any) -> None:
    other = new_token(ann)
    said(f"/start {new_token(ann)}")
    page_of(ann, press="confirm")
    assert refused(other)


def test_a_token_of_one_bot_is_none_of_another(ann: Any, settings: Any, telegram: dict[str, Any]) -> None:
    settings.DSN["MESSENGERS"]["press"] = {"MESSENGER": "telegram", **telegram}
    token = new_token(ann)
    reply = updates.reply_to(update(f"/start {token}"), "press")
    assert reply is not None
    assert "cannot be used" in reply["text"]
    assert not refused(token)


@pytest.mark.django_db(transaction=True)
def test_of_two_who_press_start_at_once_one_is_first(ann: Any) -> None:
    token = new_token(ann)
    barrier = threading.Barrier(4)
    found: list[Any] = []

    def press(chat: int) -> None:
        barrier.wait(10)
        try:
            found.append(connecting.start(token, "telegram", str(chat), f"chat {chat}"))
        finally:
            connection.close()

    threads = [threading.Thread(target=press, args=(chat,)) for chat in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len([row for row in found if row is not None]) == 1


# Disconnected


@pytest.fixture
def connected(ann: Any, address_of: Any) -> Any:
    said(f"/start {new_token(ann)}")
    page_of(ann, press="confirm")
    assert address_of(ann) == "42"
    return ann


def test_stop_disconnects(connected: Any, address_of: Any) -> None:
    assert "Disconnected" in said("/stop")
    assert address_of(connected) == ""
    assert "not connected" in said("/stop")


def test_stop_from_elsewhere_or_in_a_group_disconnects_nobody(connected: Any, address_of: Any) -> None:
    assert "not connected" in said("/stop", chat=43)
    assert said("/stop", chat=42, kind="group") == ""
    assert address_of(connected) == "42"


def test_stop_takes_back_what_is_not_confirmed_yet(ann: Any, address_of: Any) -> None:
    """Whoever was sent a link of somebody else's account, and has pressed Start, can say no."""
    said(f"/start {new_token(ann)}", chat=7)
    said("/stop", chat=7)
    assert connecting.to_confirm(ann, "telegram") == []


def test_the_page_disconnects(connected: Any, address_of: Any) -> None:
    client = Client()
    client.force_login(connected)
    assert client.get("/telegram/telegram/disconnect/").status_code == 405
    client.post("/telegram/telegram/disconnect/")
    assert address_of(connected) == ""
    assert "Your messages go to" not in page_of(connected)


def test_both_are_verbs(ann: Any, dsn: Any) -> None:
    from dsn_core import BaseMessageTemplate
    from dsn_core.models import Trigger

    class Welcome(BaseMessageTemplate):
        name = "welcome"
        text = "{{ verb }} {{ user.username }} {{ messenger }}"

    dsn.add(Welcome)
    for verb in ("telegram_connected", "telegram_disconnected"):
        Trigger.objects.define(verb).subscribe(resolver="actor", backends=[("memory", "welcome")])
    said(f"/start {new_token(ann)}")
    page_of(ann, press="confirm")
    said("/stop")
    dsn.run()
    assert [message.text for message in dsn.sent] == [
        "telegram_connected ann telegram",
        "telegram_disconnected ann telegram",
    ]


# What the bot hears besides


def test_start_alone_says_where_to_go_and_what_the_chats_id_is() -> None:
    assert "The id of this chat is 42." in said("/start")
    assert "-100" in said("/start@cinema_bot", chat=-100, kind="supergroup")


def test_a_token_in_a_group_is_not_used(ann: Any) -> None:
    token = new_token(ann)
    assert said(f"/start {token}", chat=-5, kind="group") == ""
    assert not refused(token)


@pytest.mark.parametrize(
    "nonsense",
    [None, 5, [], {}, {"message": None}, {"message": {}}, {"message": {"chat": {"id": "x"}, "text": "/stop"}},
     {"message": {"chat": {"id": 42}, "text": None}}, {"edited_message": {"chat": {"id": 42}, "text": "/stop"}},
     update("hello"), update("/starts"), update("/start a b"), update("please /stop")],
)  # fmt: skip
def test_everything_else_is_passed_over(nonsense: Any) -> None:
    assert updates.reply_to(nonsense, "telegram") is None


# The webhook


def post(client: Client, body: Any, secret: str | None = SECRET, path: str = WEBHOOK) -> Any:
    headers = {} if secret is None else {"X-Telegram-Bot-Api-Secret-Token": secret}
    return client.post(path, body, content_type="application/json", headers=headers)


def test_the_webhook_answers_with_the_bots_reply(ann: Any, api: Any) -> None:
    # CSRF is checked: Telegram has no token of a form.
    client = Client(enforce_csrf_checks=True)
    answer = post(client, update(f"/start {new_token(ann)}"))
    assert answer.status_code == 200
    reply = answer.json()
    assert (reply["method"], reply["chat_id"]) == ("sendMessage", 42)
    assert connecting.to_confirm(ann, "telegram")
    # Nobody was called meanwhile: it answers at once.
    assert api.calls == []
    quiet = post(client, update("hello"))
    assert (quiet.status_code, quiet.content) == (200, b"")


@pytest.mark.parametrize("secret", [None, "", "wrong", SECRET + "x", SECRET[:-1], "ünïcode"])
def test_the_webhook_believes_nobody_without_the_secret(client: Any, ann: Any, secret: str | None) -> None:
    assert post(client, update(f"/start {new_token(ann)}"), secret).status_code == 403
    assert connecting.to_confirm(ann, "telegram") == []


def test_a_webhook_without_a_secret_takes_nothing(client: Any, ann: Any, telegram: dict[str, Any]) -> None:
    del telegram["WEBHOOK_SECRET"]
    for secret in (None, "", "x"):
        assert post(client, update("/start"), secret).status_code == 403


def test_the_webhook_survives_nonsense(client: Any) -> None:
    assert post(client, "{no json").status_code == 400
    assert post(client, "\x00").status_code == 400
    assert post(client, "[]").status_code == 200
    assert client.get(WEBHOOK).status_code == 405
    assert post(client, "{}", path="/telegram/email/webhook/").status_code == 404


# What Telegram says, and what it does


def test_without_the_bots_name_there_is_a_page_that_says_so(client: Any, ann: Any, api: Any) -> None:
    client.force_login(ann)
    api.refuse(500, "Internal Server Error", chat="getme")
    page = client.get(CONNECT)
    assert page.status_code == 503
    assert "cannot be reached" in page.content.decode()
    assert not ConnectionRequest.objects.exists()


def test_the_bots_name_is_asked_once(ann: Any, api: Any) -> None:
    new_token(ann)
    api.refuse(500, "Internal Server Error", chat="getme")
    new_token(ann)


def test_who_is_no_messenger_of_ours_has_no_page(client: Any, ann: Any) -> None:
    client.force_login(ann)
    assert client.get("/telegram/email/connect/").status_code == 404


def test_the_template_tag_is_the_pages_address_and_asks_nobody(django_assert_num_queries: Any) -> None:
    from django.template import Context, Template

    source = "{% load dsn_telegram %}{% telegram_connect_url %} {% telegram_connect_url 'press' %}"
    with django_assert_num_queries(0):
        assert Template(source).render(Context()) == f"{CONNECT} /telegram/press/connect/"


@pytest.mark.django_db(transaction=True)
def test_polling_and_the_webhook_end_in_the_same(ann: Any, bob: Any, api: Any, live_server: Any, capsys: Any) -> None:
    api.do("update", update={k: v for k, v in update(f"/start {new_token(ann)}", 11).items() if k != "update_id"})
    api.do("update", update={"edited_message": {}})
    call_command("dsn_telegram_poll", once=True)
    assert "Done: 2 updates." in capsys.readouterr().out
    assert api.calls[-1]["chat_id"] == 11
    # What was acted on does not come again.
    call_command("dsn_telegram_poll", once=True)
    assert "Done: 0 updates." in capsys.readouterr().out

    call_command("dsn_telegram", set_webhook=f"{live_server.url}{WEBHOOK}")
    assert "The webhook is set." in capsys.readouterr().out
    started = {k: v for k, v in update(f"/start {new_token(bob)}", 12).items() if k != "update_id"}
    assert api.do("update", update=started) == {"status": 200}
    assert api.calls[-1]["chat_id"] == 12
    first, second = (call["text"] for call in api.calls)
    assert first.replace("ann", "bob") == second
    assert [connecting.to_confirm(user, "telegram")[0].chat for user in (ann, bob)] == ["11", "12"]

    with pytest.raises(CommandError, match="--remove-webhook"):
        call_command("dsn_telegram_poll", once=True)
    call_command("dsn_telegram", remove_webhook=True)
    assert "Webhook: none." in capsys.readouterr().out
