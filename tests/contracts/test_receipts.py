"""Receipt, and what a messenger may put into it."""

from __future__ import annotations

import inspect

import pytest

from dsn_core import Message, Receipt
from dsn_core.contracts.receipts import LONGEST_WAIT, SHORTEST_WAIT, Outcome


def test_each_answer_has_its_class_method() -> None:
    message = Message("x")
    answers = {
        Receipt.sent("p1", message=message).outcome: Outcome.SENT,
        Receipt.retry(5, reason="429").outcome: Outcome.RETRY,
        Receipt.failed("no such chat").outcome: Outcome.FAILED,
        Receipt.invalid_address("no @").outcome: Outcome.INVALID_ADDRESS,
        Receipt.unknown("timed out").outcome: Outcome.UNKNOWN,
        Receipt.pause(after=7, reason="429").outcome: Outcome.PAUSE,
    }
    assert all(given is expected for given, expected in answers.items())
    assert Receipt.sent("p1", message=message).message is message


MAKERS = [name for name, found in vars(Receipt).items() if isinstance(found, classmethod)]


def test_these_are_all_class_methods() -> None:
    assert sorted(MAKERS) == sorted(outcome.value for outcome in Outcome)


@pytest.mark.parametrize("name", MAKERS)
def test_all_but_the_first_argument_are_named(name: str) -> None:
    first, *others = inspect.signature(getattr(Receipt, name)).parameters.values()
    assert first.kind is first.POSITIONAL_OR_KEYWORD
    assert {other.kind for other in others} == {inspect.Parameter.KEYWORD_ONLY}
    with pytest.raises(TypeError, match="positional"):
        getattr(Receipt, name)(5, "429")


def test_so_it_is_where_a_receipt_is_made_of_an_outcome() -> None:
    assert Receipt(Outcome.FAILED, reason="no").reason == "no"
    with pytest.raises(TypeError, match="positional"):
        Receipt(Outcome.FAILED, "no")  # type: ignore[misc]


def test_ids_and_reasons_become_text() -> None:
    assert Receipt.sent(12345).provider_id == "12345"
    assert Receipt.sent(None).provider_id == ""
    assert Receipt.failed(ValueError("no such chat")).reason == "no such chat"


def test_the_message_is_not_taken_for_the_providers_id() -> None:
    with pytest.raises(TypeError, match=r"message=\.\.\."):
        Receipt.sent(Message("x"))


NAN, ENDLESS = float("nan"), float("inf")


@pytest.mark.parametrize("outcome", [Outcome.RETRY, Outcome.LATER, Outcome.PAUSE])
@pytest.mark.parametrize(
    ("given", "kept"),
    [(0, 1.0), (-5, 1.0), (-ENDLESS, 1.0), (NAN, 1.0), (0.2, 1.0), (7, 7.0), (1e18, LONGEST_WAIT),
     pytest.param(10**400, LONGEST_WAIT, id="10**400"), (ENDLESS, LONGEST_WAIT)],
)  # fmt: skip
def test_every_wait_stays_within_the_same_bounds(outcome: Outcome, given: float, kept: float) -> None:
    assert Receipt(outcome, after=given).after == kept


def test_without_a_number_the_back_off_decides_about_a_retry_and_a_pause_is_the_shortest() -> None:
    assert Receipt.retry().after is None
    assert Receipt(Outcome.PAUSE).after == Receipt(Outcome.LATER).after == SHORTEST_WAIT


@pytest.mark.parametrize("nonsense", ["soon", True])
def test_a_wait_is_a_number_of_seconds(nonsense: object) -> None:
    with pytest.raises(TypeError, match="number of seconds"):
        Receipt.retry(nonsense)
