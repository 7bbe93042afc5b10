"""``manage.py dsn_send``: one test message."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from dsn_core import BaseMessenger, Receipt
from dsn_core.testing import MemoryMessenger


def test_it_sends_one_message_and_prints_the_receipt(dsn, monkeypatch):
    monkeypatch.setattr(MemoryMessenger, "answer", lambda message: Receipt.sent("id-7", message=message))
    out = StringIO()
    call_command("dsn_send", "memory", "ann", "Hello", subject="A test", stdout=out)
    (message,) = dsn.sent
    assert (message.address, message.text, message.subject) == ("ann", "Hello", "A test")
    assert out.getvalue() == "sent, provider's id id-7\n"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda message: Receipt.failed("no such chat", message=message), "failed: no such chat"),
        (lambda message: Receipt.pause(7, reason="429", message=message), "pause, again after 7 s: 429"),
        (lambda message: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_what_is_not_sent_is_an_error_with_the_reason(dsn, monkeypatch, answer, said):
    monkeypatch.setattr(MemoryMessenger, "answer", answer)
    with pytest.raises(CommandError, match=said):
        call_command("dsn_send", "memory", "ann", "Hello")


def test_a_messenger_that_is_not_installed_is_named(dsn):
    with pytest.raises(CommandError, match="memroy"):
        call_command("dsn_send", "memroy", "ann", "Hello")


def test_a_messenger_that_chooses_its_users_takes_no_address(dsn):
    class Itself(BaseMessenger):
        """Chooses."""

        name = "itself"

        def send(self, template, users, trigger_context, signal_kwargs):
            raise AssertionError("It must not be called.")

    dsn.add(Itself)
    with pytest.raises(CommandError, match="itself"):
        call_command("dsn_send", "itself", "ann", "Hello")
