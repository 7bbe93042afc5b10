"""``manage.py dsn_retry``: what was not sent is sent again."""

from __future__ import annotations

import datetime
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models import F

from dsn_core import BaseReceiverResolver, Receipt
from dsn_core.models import Delivery, Event, Trigger
from dsn_core.testing import MemoryMessenger
from tests.testapp.models import Movie

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _subscribed(dsn: Any, settings: Any, django_user_model: Any) -> None:
    class Other(MemoryMessenger):
        name = "other"

    dsn.add(Other)
    settings.DSN = {"RUNNER": "worker"}
    users = [django_user_model.objects.create_user(name) for name in ("ann", "bob", "cyd")]
    trigger = Trigger.objects.define("post_save", action_object=Movie)
    trigger.subscribe(users=users, backends=[("memory", "simple"), ("other", "simple")])


@pytest.fixture
def failed(dsn: Any) -> None:
    for messenger in (MemoryMessenger, *MemoryMessenger.__subclasses__()):
        messenger.answer = lambda message: Receipt.failed("no such chat", message=message)
    Movie.objects.create(name="Brazil")
    dsn.run()
    for messenger in (MemoryMessenger, *MemoryMessenger.__subclasses__()):
        messenger.answer = None


def retry(*arguments: str) -> list[str]:
    out = StringIO()
    call_command("dsn_retry", *arguments, stdout=out)
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]


def test_it_says_what_it_would_do_and_does_it(failed, dsn):
    lines = ["memory failed 3", "other failed 3"]
    assert retry("--dry-run") == [*lines, "Would be: 6 deliveries."]
    assert set(Delivery.objects.values_list("status", flat=True)) == {"failed"}
    assert retry() == [*lines, "6 deliveries are tried again."]
    dsn.run()
    assert set(Delivery.objects.values_list("status", "attempts")) == {("sent", 1)}


def test_it_takes_those_that_are_named(failed, dsn):
    ended = Delivery.objects.filter(messenger="other").first()
    Delivery.objects.exclude(pk=ended.pk).update(finished_at=F("finished_at") - datetime.timedelta(hours=3))
    assert retry("--messenger", "other", "--since", "2h", "--status", "failed")[-1] == "1 deliveries are tried again."
    assert list(Delivery.objects.filter(status="retry")) == [ended]
    assert retry("--event", "0")[-1] == "0 deliveries are tried again."
    assert retry("--status", "unknown", "--status", "skipped")[-1] == "0 deliveries are tried again."


def test_failed_events_are_expanded_again(dsn, django_user_model):
    class Broken(BaseReceiverResolver):
        """Breaks, and is mended."""

        name = "broken"
        users: Any = "nonsense"

        def resolve(self, event, argument):
            return self.users

    dsn.add(Broken)
    Trigger.objects.get().subscribe("more", resolver="broken", backends=[("memory", "simple")])
    Movie.objects.create(name="Brazil")
    dsn.run()
    assert Event.objects.get().status == "failed"
    Broken.users = [django_user_model.objects.create_user("dan")]
    assert retry("--events", "--since", "1h") == ["1 events are tried again."]
    dsn.run()
    assert Event.objects.get().status == "expanded"
    assert Delivery.objects.filter(status="sent").count() == 7


def test_only_failed_ones_unless_others_are_named(failed):
    for row, status in zip(Delivery.objects.order_by("pk"), ("unknown", "cancelled", "skipped"), strict=False):
        Delivery.objects.filter(pk=row.pk).update(status=status)
    assert retry("--dry-run")[-1] == "Would be: 3 deliveries."
    assert retry("--status", "unknown", "--status", "skipped")[-1] == "2 deliveries are tried again."
    assert Delivery.objects.filter(status="cancelled").count() == 1


def test_purged_payloads_are_refused_before_anything_is_changed(failed):
    Event.objects.update(payload="")
    before = list(Delivery.objects.order_by("pk").values())
    for arguments in ([], ["--dry-run"]):
        with pytest.raises(CommandError, match="6 deliveries are refused: their payloads were purged"):
            retry(*arguments)
    Event.objects.update(status="failed")
    with pytest.raises(CommandError, match="1 events are refused"):
        retry("--events")
    assert list(Delivery.objects.order_by("pk").values()) == before
    assert Event.objects.get().status == "failed"


def test_the_others_of_purged_ones_are_tried_again(failed, dsn):
    Event.objects.update(payload="")
    Movie.objects.create(name="Brazil")
    dsn.run()
    Delivery.objects.filter(status="sent").update(status="failed")
    lines = retry()
    assert lines[:2] == ["memory failed 3", "other failed 3"]
    assert "6 deliveries are refused" in lines[2]
    assert lines[3:] == ["6 deliveries are tried again."]


@pytest.mark.parametrize(("answer", "tried"), [("y", 6), ("yes", 6), ("", 0), ("n", 0)])
def test_at_a_terminal_it_asks(failed, monkeypatch, answer, tried):
    asked = []

    def read(question):
        asked.append(question)
        return answer

    monkeypatch.setattr("builtins.input", read)
    monkeypatch.setattr("sys.stdin", Terminal())
    said = "6 deliveries are tried again." if tried else "Nothing was changed."
    assert retry()[-1] == said
    assert asked == ["Try 6 deliveries again? [y/N] "]
    assert Delivery.objects.filter(status="retry").count() == tried


def test_a_script_is_not_asked(failed, monkeypatch):
    monkeypatch.setattr("sys.stdin", Terminal())
    assert retry("--no-input")[-1] == "6 deliveries are tried again."
    assert retry()[-1] == "0 deliveries are tried again."


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    "arguments",
    [["--status", "sent"], ["--since", "yesterday"], ["--events", "--messenger", "x"], ["--messenger", "nope"]],
)
def test_nonsense_is_refused(arguments):
    with pytest.raises(CommandError):
        retry(*arguments)
