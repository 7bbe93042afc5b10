"""The commands, against the process that behaves like the Bot API."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.waiting import wait_for

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("telegram")]


def test_it_tells_whether_the_bot_answers(capsys: Any) -> None:
    call_command("dsn_telegram")
    assert capsys.readouterr().out.splitlines() == [
        "The bot answers: Cinema (@cinema_bot)",
        "Webhook: none. Updates come by 'manage.py dsn_telegram_poll'.",
        "Updates that wait: 0",
    ]


def test_it_sets_and_removes_the_webhook(api: Any, capsys: Any) -> None:
    call_command("dsn_telegram", set_webhook="https://site.example/hook/")
    assert "Webhook: https://site.example/hook/" in capsys.readouterr().out
    call_command("dsn_telegram", remove_webhook=True)
    assert "Webhook: none." in capsys.readouterr().out


def test_it_tells_of_telegrams_trouble_with_the_webhook(api: Any, capsys: Any) -> None:
    info = {"url": "https://site.example/", "pending_update_count": 3, "last_error_message": "Wrong response: 403"}
    api.script({"status": 200, "body": {"ok": True, "result": info}}, chat="getwebhookinfo")
    call_command("dsn_telegram")
    out = capsys.readouterr().out
    assert "Updates that wait: 3" in out
    assert "Wrong response: 403" in out


def test_a_webhook_without_a_secret_is_not_set(api: Any, telegram: dict[str, Any]) -> None:
    del telegram["WEBHOOK_SECRET"]
    with pytest.raises(CommandError, match="WEBHOOK_SECRET is not set"):
        call_command("dsn_telegram", set_webhook="https://site.example/hook/")


def test_what_cannot_work_is_said(api: Any, telegram: dict[str, Any]) -> None:
    with pytest.raises(CommandError, match="no account 'email'"):
        call_command("dsn_telegram", messenger="email")
    api.do("set", token="1:other")
    with pytest.raises(CommandError, match="refuses the token"):
        call_command("dsn_telegram")
    with pytest.raises(CommandError, match="refuses the token"):
        call_command("dsn_telegram_poll", once=True)
    telegram["API_BASE"] = "http://127.0.0.1:1"
    with pytest.raises(CommandError, match="does not answer"):
        call_command("dsn_telegram")


def test_one_test_message_is_sent_by_the_cores_command(api: Any, capsys: Any) -> None:
    call_command("dsn_send", "telegram", "42", "Hello")
    assert "sent, provider's id 1" in capsys.readouterr().out
    assert api.calls[0]["text"] == "Hello"
    with pytest.raises(CommandError, match="invalid address"):
        call_command("dsn_send", "telegram", "nobody", "Hello")


SETTINGS = """
import os
from tests.settings import *
DSN = {"RUNNER": "worker", "MESSENGERS": {"telegram": {"BOT_TOKEN": os.environ["TOKEN"],
       "API_BASE": os.environ["API"], "RATE": os.environ.get("RATE", "")}}}
"""


@pytest.fixture
def environment(child_environment: dict[str, str], tmp_path: Any, api: Any, telegram: dict[str, Any]) -> dict[str, str]:
    """For processes that work on the test's database, with a Telegram of the test's."""
    (tmp_path / "telegram_settings.py").write_text(SETTINGS)
    path = os.pathsep.join([str(tmp_path), child_environment["PYTHONPATH"]])
    return child_environment | {
        "DJANGO_SETTINGS_MODULE": "telegram_settings",
        "PYTHONPATH": path,
        "TOKEN": telegram["BOT_TOKEN"],
        "API": api.url,
    }


def run(environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "django", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextlib.contextmanager
def running(process: subprocess.Popen[str]) -> Any:
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=120)


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_polling_waits_survives_trouble_and_ends_by_ctrl_c(api: Any, environment: dict[str, str], ann: Any) -> None:
    from dsn_telegram import connecting

    link, _ = connecting.make_link(ann, "telegram", "https://site.example/confirm/")
    token = link.partition("start=")[2]
    api.script({"status": 502, "body": "<html>"}, {"cut": "before"}, chat="getupdates")
    with running(run(environment, "dsn_telegram_poll")) as process:
        chat = {"id": 9, "type": "private"}
        text = f"/start {token}"
        api.do("update", update={"message": {"chat": chat, "from": {"id": 9, "first_name": "A"}, "text": text}})
        wait_for(lambda: api.calls)
        assert "https://site.example/confirm/" in api.calls[0]["text"]
        assert [row.account for row in connecting.to_confirm(ann, "telegram")] == ["A (9)"]
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=200)
    assert process.returncode == 0
    assert "Stopped." in out
    assert "canary" not in out


@pytest.fixture
def deliveries(db: None) -> Any:
    """Make deliveries to so many users, or to given chats."""
    from django.contrib.auth.models import User
    from django.contrib.auth.signals import user_logged_in

    from dsn_core.models import Address, Trigger

    def make(chats: list[str], times: int = 1) -> None:
        users = [User.objects.create(username=f"user{number}") for number in range(len(chats))]
        Address.objects.bulk_create(
            Address(user=user, messenger="telegram", address=chat) for user, chat in zip(users, chats, strict=True)
        )
        Trigger.objects.define("user_logged_in").subscribe(users=users, backends=[("telegram", "simple")])
        for _ in range(times):
            user_logged_in.send(sender=User, request=None, user=users[0])

    return make


def statuses() -> list[str]:
    from dsn_core.models import Delivery

    return list(Delivery.objects.values_list("status", flat=True))


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_two_workers_keep_every_limit_of_the_bot_api_together(
    api: Any, environment: dict[str, str], deliveries: Any
) -> None:
    """The server refuses what is too fast; nothing of what two workers send is."""
    api.do("set", limits=True)
    deliveries([str(number) for number in range(1, 40)] + ["-100"], times=2)
    environment["RATE"] = "30/s"
    with running(run(environment, "dsn_worker")), running(run(environment, "dsn_worker")):
        wait_for(lambda: statuses().count("sent") == 80)
    assert api.do("refused") == {}
    assert len(api.calls) == 80
    from dsn_core.models import Delivery

    assert set(Delivery.objects.values_list("attempts", flat=True)) == {1}
    # A group's turns are three seconds apart when they are taken.
    moments = sorted(call["at"] for call in api.calls if call["chat_id"] == "-100")
    assert moments[1] - moments[0] > 2


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_429_rests_the_bot_in_all_workers_and_uses_up_no_attempt(
    api: Any, environment: dict[str, str], deliveries: Any
) -> None:
    api.refuse(429, "Too Many Requests: retry after 4", retry_after=4)
    started = time.monotonic()
    deliveries([str(number) for number in range(1, 60)])
    with running(run(environment, "dsn_worker")), running(run(environment, "dsn_worker")):
        wait_for(lambda: statuses().count("sent") == 59)
    assert time.monotonic() - started > 4
    # What was under way when it was said is one batch at most; then nobody called for as long as it said.
    moments = sorted(call["at"] for call in api.calls)
    longest = max(after - before for before, after in itertools.pairwise(moments))
    assert longest > 3 or moments[0] - started > 3
    from dsn_core.models import Delivery

    assert set(Delivery.objects.values_list("attempts", flat=True)) == {1}
