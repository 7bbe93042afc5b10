"""From a signal to a report: a worker that is a process, a provider that is a process, and the site that hears back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
from django.contrib.auth.models import User
from django.test import Client
from twilio.request_validator import RequestValidator

from dsn_core import store_address
from dsn_core.models import Delivery, MessengerState, Trigger
from dsn_core.signals import address_refused
from dsn_sms import sms_received
from tests.waiting import wait_for

TOKEN = "canary-auth-token-0123456789"


@pytest.fixture
def configured(settings: Any, options_for: Any, callbacks: Any) -> dict[str, Any]:
    settings.DSN = {
        "RUNNER": "worker",
        "MESSENGERS": {"sms": options_for("twilio", PUBLIC_URL="https://www.example.org")},
    }
    return settings.DSN  # type: ignore[no-any-return]


@pytest.fixture
def worker(configured: dict[str, Any], child_environment: dict[str, str], tmp_path: Path) -> Any:
    """Start a worker with these settings."""
    (tmp_path / "sms_settings.py").write_text(
        "from tests.settings import *\nfrom django.urls import include, path\n"
        f"import json\nDSN = json.loads({json.dumps(configured)!r})\n"
        "ROOT_URLCONF = 'sms_urls'\n"
    )
    (tmp_path / "sms_urls.py").write_text(
        "from django.urls import include, path\nurlpatterns = [path('sms/', include('dsn_sms.urls'))]\n"
    )
    environment = child_environment | {
        "DJANGO_SETTINGS_MODULE": "sms_settings",
        "PYTHONPATH": os.pathsep.join([os.fspath(tmp_path), child_environment["PYTHONPATH"]]),
    }
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "django", "dsn_worker", *arguments]
        started.append(
            subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        )
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def told(people: int) -> None:
    """Say something to so many users, each with a number of their own."""
    users = User.objects.bulk_create([User(username=f"user{number}") for number in range(people)])
    for number, user in enumerate(users):
        store_address(user, "sms", f"+49151123{number:05}")
    trigger = Trigger.objects.define("sms_received")
    trigger.subscribe(users=users, backends=[("sms", "simple")])
    sms_received.send(None, messenger="x", number="+49", text="", kind="", to="", message_id="1", raw={})


def finished(process: subprocess.Popen[str], seconds: float = 200) -> str:
    shown, _ = process.communicate(timeout=seconds)
    assert process.returncode == 0, shown
    return shown


def numbers_of(provider: Any) -> Counter[str]:
    return Counter(parse_qs(request["body"])["To"][0] for request in provider.requests)


def test_what_a_worker_sends_is_reported_back(provider: Any, worker: Any) -> None:
    told(30)
    provider.script(numbers={"+4915112300007": [400, "21610", "Attempt to send to unsubscribed recipient"]})

    shown = finished(worker("--once", "--verbosity", "2"))

    assert TOKEN not in shown
    assert Counter(Delivery.objects.values_list("status", flat=True)) == {"sent": 29, "failed": 1}
    refused = Delivery.objects.get(status="failed")
    assert (refused.address, refused.attempts) == ("+4915112300007", 1)
    assert "21610" in refused.last_error
    assert set(numbers_of(provider).values()) == {1}

    # The provider calls the address that it was given, signed by its own library.
    for request in provider.requests[:30]:
        form = {name: values[0] for name, values in parse_qs(request["body"]).items()}
        url = form["StatusCallback"]
        report = {"MessageSid": "SM1", "MessageStatus": "delivered", "To": form["To"]}
        signature = RequestValidator(TOKEN).compute_signature(url, report)
        answer = Client().post(
            url.removeprefix("https://www.example.org"),
            urlencode(report),
            content_type="application/x-www-form-urlencoded",
            headers={"X-Twilio-Signature": signature},
        )
        assert answer.status_code == 204
    assert Delivery.objects.filter(status="sent", report="delivered").count() == 29


@pytest.mark.slow
def test_a_worker_that_is_told_to_stop_doubles_and_loses_nothing(provider: Any, worker: Any) -> None:
    """Many messages are under way at the moment it hears it. Those are answered for; the others stay for the next."""
    told(150)
    provider.script(delay=0.3)
    process = worker()
    wait_for(lambda: provider.requests)
    process.send_signal(signal.SIGTERM)
    finished(process)
    first = len(provider.requests)
    assert 0 < first < 150
    states = Counter(Delivery.objects.values_list("status", "last_error"))
    assert states == {("sent", ""): first, ("pending", ""): 150 - first}

    provider.script()
    finished(worker("--once"))
    unsent = Delivery.objects.exclude(status="sent").values_list("status", "last_error")
    assert Counter(unsent) == {}
    counts = numbers_of(provider)
    assert (len(counts), max(counts.values())) == (150, 1)


@pytest.mark.slow
def test_a_429_pauses_the_messenger_in_all_workers_and_uses_up_no_attempt(provider: Any, worker: Any) -> None:
    told(10)
    provider.script(mode="status", status=429, retry_after=600, body='{"code": 20429}')
    finished(worker("--once"))
    asked = len(provider.requests)
    assert set(Delivery.objects.values_list("status", "attempts")) == {("retry", 0)}
    state = MessengerState.objects.get(messenger="sms")
    assert state.paused_until is not None
    provider.script()
    finished(worker("--once"))
    assert len(provider.requests) == asked


@pytest.mark.django_db
def test_who_said_stop_is_told_to_the_project(dsn: Any, configured: dict[str, Any], provider: Any) -> None:
    heard: list[tuple[str, str]] = []

    def hear(sender: Any, signal: Any, **said: Any) -> None:
        heard.append((said["user"].username, said["address"]))

    told(2)
    provider.script(numbers={"+4915112300001": [400, "21610", "STOP"]})
    address_refused.connect(hear)
    try:
        dsn.run()
    finally:
        address_refused.disconnect(hear)
    assert heard == [("user1", "+4915112300001")]


@pytest.mark.django_db
def test_a_user_without_a_number_is_skipped(dsn: Any, configured: dict[str, Any], provider: Any) -> None:
    told(1)
    User.objects.create_user("nophone")
    store_address(User.objects.get(username="user0"), "sms", "")
    dsn.run()
    (delivery,) = Delivery.objects.all()
    assert delivery.status == "skipped"
    assert delivery.last_error
