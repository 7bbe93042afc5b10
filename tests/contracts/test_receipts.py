"""Receipt, and what a messenger may put into it."""

from __future__ import annotations

import pytest

from dsn_core import Message, Receipt
from dsn_core.contracts.receipts import LONGEST_WAIT, Outcome


def test_each_answer_has_its_class_method() -> None:
    message = Message("x")
    answers = {
        Receipt.sent("p1", message=message).outcome: Outcome.SENT,
        Receipt.retry(5, "429").outcome: Outcome.RETRY,
        Receipt.failed("no such chat").outcome: Outcome.FAILED,
        Receipt.invalid_address("no @").outcome: Outcome.INVALID_ADDRESS,
        Receipt.unknown("timed out").outcome: Outcome.UNKNOWN,
        Receipt.pause(after=7, reason="429").outcome: Outcome.PAUSE,
    }
    assert all(given is expected for given, expected in answers.items())
    assert Receipt.sent("p1", message=message).message is message


def test_ids_and_reasons_become_text() -> None:
    assert Receipt.sent(12345).provider_id == "12345"
    assert Receipt.sent(None).provider_id == ""
    assert Receipt.failed(ValueError("no such chat")).reason == "no such chat"


def test_the_message_is_not_taken_for_the_providers_id() -> None:
    with pytest.raises(TypeError, match=r"message=\.\.\."):
        Receipt.sent(Message("x"))


@pytest.mark.parametrize(
    ("given", "kept"), [(-5, 0.0), (7, 7.0), (1e18, LONGEST_WAIT), (float("inf"), LONGEST_WAIT), (None, None)]
)
def test_waits_stay_within_bounds(given: float | None, kept: float | None) -> None:
    assert Receipt.retry(given).after == kept


@pytest.mark.parametrize("nonsense", ["soon", float("nan"), True])
def test_a_wait_is_a_number_of_seconds(nonsense: object) -> None:
    with pytest.raises(TypeError, match="number of seconds"):
        Receipt.retry(nonsense)


def test_a_pause_is_never_so_short_that_it_goes_round_for_ever() -> None:
    assert Receipt.pause(after=0, reason="busy").after == 1.0
