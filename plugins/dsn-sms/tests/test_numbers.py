"""Numbers and their countries."""

from __future__ import annotations

from typing import Any

import pytest

from dsn_core.contracts.receipts import Outcome
from dsn_core.exceptions import InvalidAddress
from dsn_sms.numbers import parse, refusal


@pytest.mark.parametrize(
    ("address", "region", "e164", "country"),
    [
        ("+49 151 12345678", "", "+4915112345678", "DE"),
        ("0151/1234 5678", "DE", "+4915112345678", "DE"),
        ("tel:+44-20-7946-0958", "DE", "+442079460958", "GB"),
        ("0049 151 12345678", "DE", "+4915112345678", "DE"),
        ("(201) 555-0123", "US", "+12015550123", "US"),
        ("+1 876 555 0123", "", "+18765550123", "JM"),
        ("+1 416 555 0123", "", "+14165550123", "CA"),
        ("+39 06 1234567", "", "+39061234567", "IT"),
        ("٠١٥١١٢٣٤٥٦٧٨", "DE", "+4915112345678", "DE"),
        ("+881 612 345 678", "", "+881612345678", "001"),
    ],
)
def test_a_number_is_normalised(address: str, region: str, e164: str, country: str) -> None:
    number = parse(address, region)
    assert (number.e164, number.country) == (e164, country)


@pytest.mark.parametrize(
    "address", ["", "ann", "12", "+49", "+49 1", "+999 1234567", "+4915112345678901234", "ann@example.org", "+", "\x00"]
)
def test_what_cannot_be_a_number_is_no_address(address: str) -> None:
    with pytest.raises(InvalidAddress, match="is no"):
        parse(address, "DE")


def test_without_a_region_a_national_number_says_what_is_missing() -> None:
    with pytest.raises(InvalidAddress, match="REGION is not set"):
        parse("0151 12345678", "")


@pytest.mark.parametrize(
    ("address", "allowed", "refused", "goes"),
    [
        ("+4915112345678", [], [], True),
        ("+4915112345678", ["DE", "AT"], [], True),
        ("+4915112345678", ["de"], [], True),
        ("+4915112345678", ["AT"], [], False),
        ("+4915112345678", [], ["DE"], False),
        ("+18765550123", ["US", "CA"], [], False),
        ("+18765550123", [], ["JM"], False),
        ("+12015550123", ["US"], [], True),
        # Possible, and assigned to nobody: it could be of any country with +1.
        ("+15555555555", ["US", "CA"], [], False),
        ("+15555555555", [], ["JM"], False),
        ("+15555555555", [], ["DE"], True),
        ("+881612345678", ["DE"], [], False),
    ],
)
def test_countries_are_allowed_or_refused(address: str, allowed: list[str], refused: list[str], goes: bool) -> None:
    assert (refusal(parse(address, ""), allowed, refused) == "") is goes


@pytest.mark.parametrize("address", ["+49 30 901820 ext. 17", "+49 30 901820x17", "tel:+4930901820;ext=17"])
def test_a_number_with_an_extension_is_refused_unless_an_option_says_otherwise(
    address: str, provider: Any, send: Any, text_to: Any
) -> None:
    (refused,) = send(text_to(address))
    assert refused.outcome is Outcome.INVALID_ADDRESS
    assert "has an extension" in refused.reason
    assert "IGNORE_EXTENSIONS" in refused.reason
    assert provider.requests == []
    (sent,) = send(text_to(address), IGNORE_EXTENSIONS=True)
    assert sent.outcome is Outcome.SENT
    assert "To=%2B4930901820&" in provider.requests[0]["body"]


@pytest.mark.parametrize("address", ["no number", "+49", "12", ""])
def test_an_impossible_number_is_told_before_any_call(address: str, provider: Any, send: Any, text_to: Any) -> None:
    bad, good = send(text_to(address), text_to())
    assert bad.outcome is Outcome.INVALID_ADDRESS
    assert bad.reason
    assert good.outcome is Outcome.SENT
    assert len(provider.requests) == 1


def test_a_refused_country_is_no_bad_address(provider: Any, send: Any, text_to: Any) -> None:
    """Nobody should forget the number for it: ``address_refused`` is not sent."""
    (receipt,) = send(text_to("+18765550123"), ALLOWED_COUNTRIES=["DE", "US"])
    assert receipt.outcome is Outcome.FAILED
    assert "JM" in receipt.reason
    assert "ALLOWED_COUNTRIES" in receipt.reason
    assert provider.requests == []
