"""Whatever comes to the webhook is no server error, and the pages of users act on accounts of Telegram only."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dsn_core import find_users, store_address

SECRET = "webhook-canary_secret"
WEBHOOK = "/telegram/telegram/webhook/"

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("telegram", "pages")]

VALUES = st.recursive(
    st.sampled_from(["", "\ud800", "a\0b", "x" * 70_000, "/start", "/stop", "/start \ud800", "private", 10**4_000, -1])
    | st.none() | st.booleans() | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "text"]), inner, max_size=3),
    max_leaves=4,
)  # fmt: skip
UPDATES = st.fixed_dictionaries(
    {},
    optional={
        "update_id": VALUES,
        "message": VALUES
        | st.fixed_dictionaries(
            {},
            optional={
                "text": VALUES,
                "chat": VALUES | st.fixed_dictionaries({}, optional={"id": VALUES, "type": VALUES}),
                "from": VALUES | st.fixed_dictionaries({}, optional={"id": VALUES, "first_name": VALUES}),
            },
        ),
    },
)
BODIES = UPDATES.map(lambda said: json.dumps(said).encode()) | st.binary(max_size=20)


@given(BODIES | st.sampled_from([b"[" * 100_000, b'{"message": ' + b"[" * 900 + b"]" * 900 + b"}", b"x" * 3_000_000]))
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_comes_to_the_webhook_is_no_server_error(body: bytes) -> None:
    headers = {"X-Telegram-Bot-Api-Secret-Token": SECRET}
    assert Client().post(WEBHOOK, body, content_type="application/json", headers=headers).status_code in (200, 400)
    for given_secret in ("", "x", "ä", "\xff"):
        headers = {"X-Telegram-Bot-Api-Secret-Token": given_secret}
        assert Client().post(WEBHOOK, body, content_type="text/plain", headers=headers).status_code == 403


@pytest.mark.parametrize("body", [b"[" * 100_000, b"x" * 3_000_000, b'{"a": ' + b"9" * 5_000 + b"}"])
def test_what_cannot_be_read_is_refused(body: bytes) -> None:
    headers = {"X-Telegram-Bot-Api-Secret-Token": SECRET}
    assert Client().post(WEBHOOK, body, content_type="application/json", headers=headers).status_code == 400


@pytest.mark.parametrize("alias", ["console", "nobody", "%00", "x" * 500])
def test_the_pages_act_on_accounts_of_telegram_only(alias: str, ann: Any, settings: Any) -> None:
    settings.DSN = settings.DSN | {"ADDRESSES": {"console": "last_name"}}
    store_address(ann, "console", "the desk")
    client = Client()
    client.force_login(ann)
    for page, method in (("connect", "get"), ("confirm", "get"), ("confirm", "post"), ("disconnect", "post")):
        assert getattr(client, method)(f"/telegram/{alias}/{page}/").status_code == 404
    assert [user.pk for user in find_users("console", "the desk")] == [ann.pk]
