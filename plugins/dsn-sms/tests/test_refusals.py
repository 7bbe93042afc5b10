"""What follows one number, or one message, is never the account's: it holds up nobody else."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.dispatch import Signal

from dsn_core import BaseMessageTemplate, Outcome, SignalRegistration, emit, store_address
from dsn_core.models import Delivery, MessengerState, Trigger

OTHERS = [f"+49151123456{number}" for number in range(20, 30)]


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        *[("twilio", 400, code) for code in ("21219", "21408", "21606", "21608", "21612", "21659", "21703", "21610")],
        *[("vonage", 422, code) for code in ("1120", "1160", "1170", "1240")],
        ("vonage", 403, "1120"),
        ("sns", 400, "UserError"),
        ("sns", 400, "UserErrorException"),
        ("sns", 400, "InvalidParameter"),
        ("http", 403, "77"),
    ],
)
def test_a_refusal_of_one_number_stops_no_other(
    name: str, status: int, code: str, provider: Any, send: Any, text_to: Any
) -> None:
    refused = "+4915112345678"
    numbers = {refused: [status, code, "not this number"], refused.lstrip("+"): [status, code, "not this number"]}
    provider.script(numbers=numbers)
    first, *rest = send(text_to(refused), *map(text_to, OTHERS), by=name, CONNECTIONS=1)
    assert first.outcome in (Outcome.FAILED, Outcome.INVALID_ADDRESS)
    assert code in first.reason
    assert [receipt.outcome for receipt in rest] == [Outcome.SENT] * len(OTHERS)


@pytest.mark.parametrize(("name", "status", "code"), [("twilio", 429, "14107"), ("vonage", 429, "1241")])
def test_too_many_to_one_number_are_tried_again_alone(
    name: str, status: int, code: str, provider: Any, send: Any, text_to: Any
) -> None:
    provider.script(numbers={number: [status, code, "slower"] for number in ("+4915112345678", "4915112345678")})
    first, second = send(text_to(), text_to(OTHERS[0]), by=name, CONNECTIONS=1)
    assert (first.outcome, second.outcome) == (Outcome.RETRY, Outcome.SENT)


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [("twilio", 401, "20003"), ("twilio", 400, "21212"), ("vonage", 402, "1070"), ("sns", 403, "AccessDenied")],
)
def test_what_refuses_every_message_is_the_accounts(
    name: str, status: int, code: str, provider: Any, send: Any, text_to: Any
) -> None:
    provider.script(numbers={number: [status, code, "no"] for number in ("+4915112345678", "4915112345678")})
    (receipt,) = send(text_to(), by=name)
    assert receipt.outcome is Outcome.PAUSE


class Plain(BaseMessageTemplate):
    """Says little."""

    name = "plain"
    text = "Solaris is out"


REFUSED = {
    "+4915112345601": [400, "21608", "the account is on trial, and this number is not verified"],
    "+4915112345602": [400, "21610", "its owner said STOP"],
    "+4915112345603": [400, "21408", "no permission to send to its region"],
}


@pytest.mark.django_db
def test_three_hundred_get_their_sms_though_three_are_refused(
    provider: Any, options_for: Any, dsn: Any, settings: Any
) -> None:
    # Each of another kind; none of them pauses the messenger, whose rate alone says how long it takes.
    provider.script(numbers=REFUSED)
    settings.DSN = {"RUNNER": "worker", "MESSENGERS": {"sms": options_for("twilio", RATE="600/s")}}
    dsn.add(SignalRegistration("happened", Signal()), Plain)
    good = [f"+49151223{number:05}" for number in range(300)]
    numbers = [*REFUSED, *good]
    users = User.objects.bulk_create(User(username=number) for number in numbers)
    for user in users:
        store_address(user, "sms", user.username)
    Trigger.objects.define("happened").subscribe(users=users, backends=[("sms", "plain")])
    emit("happened")
    dsn.run()
    assert set(Delivery.objects.filter(status="sent").values_list("address", flat=True)) == set(good)
    refused = Delivery.objects.filter(status="failed")
    assert {row.address for row in refused} == set(REFUSED)
    assert all(REFUSED[row.address][1] in row.last_error for row in refused)
    assert MessengerState.objects.get(messenger="sms").paused_until is None
