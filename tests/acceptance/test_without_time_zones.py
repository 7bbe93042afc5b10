"""A project with ``USE_TZ = False``: the whole path, in processes of its own on this test's database."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.slow_everywhere]

SETTINGS = """
from tests.settings import *
USE_TZ = False
TIME_ZONE = "America/New_York"
DSN = {"RUNNER": "worker"}
INSTALLED_APPS = [*INSTALLED_APPS, "naive"]
"""

#: A messenger that asks for another attempt the first time.
PLUGIN = """
from dsn_core import BaseMessenger, Receipt, hookimpl

class Second(BaseMessenger):
    name = "second"
    needs_address = False
    seen = set()

    def send_messages(self, messages):
        for message in messages:
            if message.id in self.seen:
                yield Receipt.sent(message=message)
            else:
                self.seen.add(message.id)
                yield Receipt.retry(after=1, reason="once more")

@hookimpl
def dsn_messengers(): return [Second]
"""

STORY = """
import datetime
import time
import django
django.setup()
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db.models import F
from django.test import Client
from django.utils import timezone
from dsn_core.models import Delivery, Event, Trigger
from dsn_core.runners import driver
from tests.shapes.models import Article

assert timezone.now().tzinfo is None
ann = get_user_model().objects.create_superuser("ann", "ann@example.org", "a")
conditions = [("instance.at", "greater", "2026-01-01 00:00")]
trigger = Trigger.objects.define("post_save", action_object=Article, conditions=conditions)
trigger.subscribe(users=[ann], backends=[("console", "simple"), ("second", "simple")])
Article.objects.create(at=datetime.datetime(2025, 12, 31, 23, 59))
Article.objects.create(at=datetime.datetime(2026, 1, 1, 0, 1))
assert Event.objects.count() == 1
event = Event.objects.get()
assert abs(event.created_at - timezone.now()) < datetime.timedelta(minutes=1), event.created_at
driver.drain("default")
console, second = Delivery.objects.order_by("messenger")
assert (console.status, second.status) == ("sent", "retry"), (console.last_error, second.last_error)
wait = second.not_before - timezone.now()
assert datetime.timedelta() < wait < datetime.timedelta(minutes=2), wait
Delivery.objects.filter(pk=second.pk).update(not_before=F("not_before") - datetime.timedelta(minutes=2))
driver.drain("default")
second.refresh_from_db()
assert (second.status, second.attempts) == ("sent", 2), second.last_error
Article.objects.create(at=datetime.datetime(2026, 2, 1))
call_command("dsn_worker", once=True, verbosity=0)
assert not Delivery.objects.exclude(status__in=["sent", "retry"]).exists()
browser = Client()
browser.force_login(ann)
for page in ("event", "delivery", "trigger", "messengerstate", "configurationchange"):
    assert browser.get(f"/admin/dsn_core/{page}/").status_code == 200, page
assert browser.get(f"/admin/dsn_core/event/{event.pk}/change/").status_code == 200
assert browser.get(f"/admin/dsn_core/delivery/{second.pk}/change/").status_code == 200
call_command("dsn_purge", older_than=datetime.timedelta(hours=1))
assert Event.objects.count() == 2
Event.objects.filter(pk=event.pk).update(created_at=timezone.now() - datetime.timedelta(hours=2))
call_command("dsn_purge", older_than=datetime.timedelta(hours=1))
assert Event.objects.count() == 1
print("fine")
"""


def test_the_whole_path(child_environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "naive").mkdir()
    (tmp_path / "naive" / "__init__.py").touch()
    (tmp_path / "naive" / "dsn_plugin.py").write_text(PLUGIN, encoding="utf-8")
    (tmp_path / "naive_settings.py").write_text(SETTINGS, encoding="utf-8")
    path = os.pathsep.join([os.fspath(tmp_path), child_environment["PYTHONPATH"]])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", STORY],
        env=child_environment | {"DJANGO_SETTINGS_MODULE": "naive_settings", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip().endswith("fine")
