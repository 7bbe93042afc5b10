"""What a mail server refuses, and which receipt that is."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.dispatch import Signal

from dsn_core import BaseMessageTemplate, SignalRegistration, emit
from dsn_core.contracts.receipts import Outcome
from dsn_core.models import Delivery, MessengerState, Trigger


class Plain(BaseMessageTemplate):
    """A short text."""

    name = "plain"
    subject = "Solaris is out"
    text = "It can be seen from now on."


def only(name: str, reply: str) -> Any:
    """An answer that hits one address."""
    return lambda about: reply if about.startswith(f"{name}@") else None


def test_a_refusal_of_the_second_of_three_stops_no_other(
    server: Any, use_smtp: Any, send: Any, message_to: Any
) -> None:
    use_smtp(server.port)
    server.answers["RCPT"] = only("bob", "550 5.1.1 No such user here")
    ann, bob, cleo = send(message_to("ann"), message_to("bob"), message_to("cleo"))
    assert (ann.outcome, bob.outcome, cleo.outcome) == (Outcome.SENT, Outcome.INVALID_ADDRESS, Outcome.SENT)
    assert "550 5.1.1 No such user here" in bob.reason
    assert server.receivers == ["ann@example.org", "cleo@example.org"]
    assert server.connections == 1


@pytest.mark.parametrize(
    ("command", "reply", "outcome"),
    [
        ("RCPT", "550 No such user", Outcome.INVALID_ADDRESS),
        ("RCPT", "551 User not local", Outcome.INVALID_ADDRESS),
        ("RCPT", "553 5.1.3 Bad syntax", Outcome.INVALID_ADDRESS),
        ("RCPT", "554 5.1.10 Domain takes no mail", Outcome.INVALID_ADDRESS),
        ("RCPT", "550 5.2.1 Mailbox disabled", Outcome.INVALID_ADDRESS),
        ("RCPT", "550 5.7.1 Blocked by policy", Outcome.FAILED),
        ("RCPT", "552 5.2.2 Mailbox full", Outcome.FAILED),
        ("RCPT", "554 Relay access denied", Outcome.FAILED),
        ("RCPT", "450 4.2.0 Greylisted, try again", Outcome.RETRY),
        ("RCPT", "452 Too many recipients", Outcome.RETRY),
        ("MAIL", "451 Local error", Outcome.RETRY),
        ("MAIL", "550 Sender not allowed", Outcome.FAILED),
        ("MAIL", "530 5.7.0 Authentication required", Outcome.PAUSE),
        ("354", "451 Queue full", Outcome.RETRY),
        ("354", "554 No valid recipients", Outcome.FAILED),
        ("DATA", "552 Message too big", Outcome.FAILED),
        ("DATA", "554 5.7.1 Looks like spam", Outcome.FAILED),
        ("DATA", "550 5.1.1 A content filter's odd words", Outcome.FAILED),
        ("DATA", "451 4.3.0 Filter is down", Outcome.RETRY),
    ],
)
def test_each_reply_has_its_receipt(
    command: str, reply: str, outcome: Outcome, server: Any, use_smtp: Any, send: Any, message_to: Any
) -> None:
    use_smtp(server.port)
    server.answers[command] = lambda about: reply
    (receipt,) = send(message_to("ann"))
    assert receipt.outcome is outcome
    assert reply in receipt.reason
    assert server.received == []


@pytest.mark.parametrize("command", ["RCPT", "354", "DATA"])
@pytest.mark.parametrize(
    "reply", ["530 5.7.0 Authentication required", "534 5.7.9 Stronger login", "535 5.7.8 No", "538 5.7.11 TLS"]
)
def test_a_reply_that_follows_one_receiver_is_never_the_account_s(
    command: str, reply: str, server: Any, use_smtp: Any, send: Any, message_to: Any
) -> None:
    use_smtp(server.port)
    server.answers[command] = only("bob", reply)
    ann, bob, cleo = send(message_to("ann"), message_to("bob"), message_to("cleo"))
    assert (ann.outcome, bob.outcome, cleo.outcome) == (Outcome.SENT, Outcome.FAILED, Outcome.SENT)
    assert reply in bob.reason


DAY = 86_400


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "354", "DATA"])
@pytest.mark.parametrize(
    "reply",
    [
        "550 5.4.5 Daily user sending limit exceeded",
        "550 5.4.5 https://support.example/answer/22839",
        "452 4.3.0 Daily sending quota exceeded",
        "452 Your account has reached its hourly sending limit",
        "454 Throttling failure: Daily message quota exceeded",
        "454 4.7.0 Sending quota of this account is used up",
        "421 4.7.0 Daily SMTP relay limit exceeded for customer",
        "550 5.1.90 Your message can't be sent because you've reached your daily limit for message recipients",
        "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException",
        "550 You have exceeded the limit of 500 messages per day",
    ],
)
def test_a_quota_of_the_account_is_a_pause_of_a_day_and_fails_no_message(
    command: str, reply: str, server: Any, use_smtp: Any, send: Any, message_to: Any
) -> None:
    use_smtp(server.port)
    server.answers[command] = only("cinema" if command == "MAIL" else "ann", reply)
    receipts = send(message_to("ann"), message_to("bob"))
    assert [(receipt.outcome, receipt.after) for receipt in receipts] == [(Outcome.PAUSE, DAY)]
    assert reply in receipts[0].reason
    assert server.received == []


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ("452 4.2.2 The email account that you tried to reach is over quota", Outcome.RETRY),
        ("452 4.2.2 Daily message quota of this user exceeded", Outcome.RETRY),
        ("452 4.3.1 Insufficient system storage", Outcome.RETRY),
        ("452 4.5.3 Too many recipients", Outcome.RETRY),
        ("452 Mailbox is over its quota", Outcome.RETRY),
        ("450 4.2.1 The user receives mail above the daily limit", Outcome.RETRY),
        ("454 4.7.0 Temporary authentication failure", Outcome.RETRY),
        ("552 5.2.2 Over quota", Outcome.FAILED),
        ("552 5.3.4 Message size exceeds the limit for outgoing mail", Outcome.FAILED),
        ("550 5.1.1 No such user", Outcome.INVALID_ADDRESS),
    ],
)
def test_a_full_mailbox_or_a_large_message_is_no_quota_of_the_account(
    reply: str, outcome: Outcome, server: Any, use_smtp: Any, send: Any, message_to: Any
) -> None:
    use_smtp(server.port)
    server.answers["RCPT"] = only("ann", reply)
    ann, bob = send(message_to("ann"), message_to("bob"))
    assert (ann.outcome, bob.outcome) == (outcome, Outcome.SENT)


def test_after_a_refusal_the_rest_goes_on_over_the_same_connection(
    server: Any, use_smtp: Any, send: Any, message_to: Any
) -> None:
    use_smtp(server.port)
    server.answers["DATA"] = only("ann", "554 Spam")
    server.answers["RCPT"] = only("bob", "450 Later")
    ann, bob, cleo = send(message_to("ann"), message_to("bob"), message_to("cleo"))
    assert (ann.outcome, bob.outcome, cleo.outcome) == (Outcome.FAILED, Outcome.RETRY, Outcome.SENT)
    assert server.connections == 1


@pytest.mark.parametrize(
    "address",
    ["", "ann", "ann@", "@example.org", "ann@example", "ann example@example.org", "a@b@example.org", "änn@example.org",
     "ann@example.org, bob@example.org", "Ann <ann>", "ann@exa mple.org", "ann@example.org\r\nBcc: eve@example.org",
     "ann@example.org\n", "\nann@example.org", "ann@example.org\x00", '"a\nb" <ann@example.org>'],
)  # fmt: skip
def test_what_is_no_address_is_told_before_any_network(
    address: str, server: Any, use_smtp: Any, send: Any, message_to: Any
) -> None:
    from dsn_core import Message

    use_smtp(server.port)
    (receipt,) = send(Message("text", subject="s", id="1", address=address))
    assert receipt.outcome is Outcome.INVALID_ADDRESS
    assert receipt.reason
    assert server.connections == 0


def test_a_bad_address_is_told_even_when_the_server_is_away(
    use_smtp: Any, send: Any, message_to: Any, closed_port: int
) -> None:
    use_smtp(closed_port)
    bad, good = send(message_to("no@address"), message_to("ann"))
    assert (bad.outcome, good.outcome) == (Outcome.INVALID_ADDRESS, Outcome.RETRY)


LINE_BREAKS = [
    "\r\nBcc: eve@example.org",
    "\nBcc: eve@example.org",
    "\rBcc: eve@example.org",
    "\x0bBcc: eve",
    "\u2028x",
    "\x00",
]


@pytest.mark.parametrize("forged", LINE_BREAKS, ids=ascii)
@pytest.mark.parametrize("where", ["FROM", "REPLY_TO", "HEADERS", "HEADERS name", "headers", "headers name", "reply_to",
                                   "attachment", "subject"])  # fmt: skip
def test_a_line_break_in_a_header_fails_for_good_and_nothing_is_sent(
    where: str, forged: str, server: Any, use_smtp: Any, send: Any, message_to: Any
) -> None:
    use_smtp(server.port)
    options: dict[str, Any] = {
        "FROM": {"FROM": f"cinema@example.org{forged}"},
        "REPLY_TO": {"REPLY_TO": [f"desk@example.org{forged}"]},
        "HEADERS": {"HEADERS": {"X-Kind": f"a{forged}"}},
        "HEADERS name": {"HEADERS": {f"X-Kind{forged}": "a"}},
    }.get(where, {})
    extra: dict[str, Any] = {
        "headers": {"headers": {"X-Kind": f"a{forged}"}},
        "headers name": {"headers": {f"X-Kind{forged}": "a"}},
        "reply_to": {"reply_to": f"desk@example.org{forged}"},
        "attachment": {"attachments": [(f"a.txt{forged}", "text")]},
    }.get(where, {})
    message = message_to("ann", extra={"email": extra})
    if where == "subject":
        # Message itself puts a subject on one line; this is one that was changed afterwards.
        message.subject = f"Out{forged}"
    (receipt,) = send(message, **options)
    assert receipt.outcome is Outcome.FAILED
    assert "eve" not in receipt.reason.replace("'X-Kind", "").replace("Bcc: eve", "")
    assert server.connections == 0


def test_a_line_break_in_a_template_s_subject_becomes_a_blank(
    server: Any, use_smtp: Any, send: Any, message_to: Any
) -> None:
    use_smtp(server.port)
    send(message_to("ann", subject="Solaris\r\nBcc: eve@example.org"))
    assert server.mails[0]["Subject"] == "Solaris Bcc: eve@example.org"
    assert server.mails[0]["Bcc"] is None
    assert server.receivers == ["ann@example.org"]


@pytest.mark.parametrize(
    "name", ["Bcc", "to", "CC", "From", "Subject", "Message-ID", "Content-Type", "Reply-To", "", "X:Y", "X Y"]
)
def test_headers_that_are_not_the_template_s_fail(
    name: str, server: Any, use_smtp: Any, send: Any, message_to: Any
) -> None:
    use_smtp(server.port)
    (receipt,) = send(message_to("ann", extra={"email": {"headers": {name: "eve@example.org"}}}))
    assert receipt.outcome is Outcome.FAILED
    assert "eve" not in receipt.reason
    assert server.connections == 0


@pytest.mark.parametrize(
    "extra",
    [{"cc": ["bob@example.org"]}, {"headers": ["X-A"]}, {"headers": {"X-A": b"1"}}, {"reply_to": "ann"},
     {"reply_to": 7},
     {"attachments": "a.txt"}, {"attachments": ["a.txt"]}, {"attachments": [("a.txt", 7)]},
     {"attachments": [("", "a")]},
     {"attachments": [("a.txt", "a", "text")]}, {"attachments": [("a.txt", "a", "text/plain\r\nX: y")]}, "text"],
    ids=repr,
)  # fmt: skip
def test_an_extra_that_makes_no_sense_fails_with_the_reason(
    extra: Any, server: Any, use_smtp: Any, send: Any, message_to: Any
) -> None:
    use_smtp(server.port)
    good, bad = send(message_to("ann"), message_to("bob", extra={"email": extra}))
    assert (good.outcome, bad.outcome) == (Outcome.SENT, Outcome.FAILED)
    assert bad.reason
    assert server.receivers == ["ann@example.org"]


@pytest.mark.parametrize(("sign", "word"), [("\0", "a NUL character"), ("\n", "a line break")])
def test_what_a_header_or_an_address_may_not_hold_is_called_by_its_name(
    sign: str, word: str, send: Any, message_to: Any
) -> None:
    in_address, in_header = (
        *send(message_to(f"ann{sign}@example.org")),
        *send(message_to("ann", extra={"email": {"headers": {"X-Kind": f"a{sign}b"}}})),
    )
    assert word in in_address.reason
    assert word in in_header.reason


REFUSED = {
    "external": "530 5.7.1 Relaying needs a login",
    "unknown": "550 5.1.1 No such user here",
    "full": "552 5.2.2 Mailbox full",
}


@pytest.mark.django_db
def test_three_hundred_get_their_mail_though_three_are_refused(
    server: Any, use_smtp: Any, dsn: Any, settings: Any
) -> None:
    use_smtp(server.port)
    # Each of a different kind; none of them pauses the messenger, whose rate alone says how long it takes.
    server.answers["RCPT"] = lambda about: REFUSED.get(about.partition("@")[0])
    settings.DSN = {"RUNNER": "worker", "MESSENGERS": {"email": {"FROM": "cinema@example.org", "RATE": "600/s"}}}
    dsn.add(SignalRegistration("happened", Signal()), Plain)
    names = [*REFUSED, *(f"guest{number}" for number in range(300))]
    users = User.objects.bulk_create(User(username=name, email=f"{name}@example.org") for name in names)
    Trigger.objects.define("happened").subscribe(users=users, backends=[("email", "plain")])
    emit("happened")
    dsn.run()
    assert sorted(server.receivers) == sorted(f"{name}@example.org" for name in names[3:])
    refused = Delivery.objects.exclude(status="sent")
    assert {row.address.partition("@")[0]: row.last_error for row in refused if row.status == "failed"} == REFUSED
    assert MessengerState.objects.get(messenger="email").paused_until is None
