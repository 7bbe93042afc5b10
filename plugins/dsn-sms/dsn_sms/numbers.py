"""Reads and normalises phone numbers, and finds their countries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import phonenumbers

from dsn_core.exceptions import InvalidAddress

#: The country of numbers that belong to none (satellite phones, universal numbers), as phonenumbers calls it.
NO_COUNTRY = "001"


@dataclass(frozen=True)
class Number:
    """A number as providers want it.

    ``e164``       ``"+4915112345678"``
    ``countries``  those that it can belong to, as ISO codes: one, except for a number that is possible and not
                   assigned in a country code that several share (+1)
    ``country``    the one of them, or the country code's main one
    """

    e164: str
    countries: frozenset[str]
    country: str


def parse(address: str, region: str, *, ignore_extension: bool = False) -> Number:
    """Read ``address``; ``region`` is the country of numbers without a country code (may be empty).

    A number with an extension is refused unless that is to be ignored: no SMS reaches an extension, and the number
    without it is the switchboard's. Raises :class:`~dsn_core.exceptions.InvalidAddress` when it cannot be a number.
    """
    shown = repr(address[:40])
    try:
        number = phonenumbers.parse(address, region or None)
    except phonenumbers.NumberParseException as error:
        why = ""
        if error.error_type == phonenumbers.NumberParseException.INVALID_COUNTRY_CODE and not region:
            why = ": it has no country code, and the option REGION is not set"
        raise InvalidAddress(f"{shown} is no phone number{why}.") from None
    if number.extension and not ignore_extension:
        raise InvalidAddress(
            f"{shown} has an extension, which no SMS can reach. Store a number without one, or set the option "
            "IGNORE_EXTENSIONS to send to the number before it."
        )
    # Not is_possible_number(), which also takes what can be called within a town only.
    if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
        raise InvalidAddress(f"{shown} is no possible phone number: it is too long or too short.")
    code = number.country_code or 0
    main = phonenumbers.region_code_for_country_code(code)
    exact = phonenumbers.region_code_for_number(number)
    all_of_code = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(code, (main,))
    return Number(
        e164=phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164),
        countries=frozenset([exact] if exact else all_of_code),
        country=exact or main,
    )


def refusal(number: Number, allowed: Sequence[str], refused: Sequence[str]) -> str:
    """Why a message to ``number`` is not to be sent, by the countries; empty when it may be.

    A number that can belong to several countries may be called only if all of them may.
    """
    where = " or ".join(sorted(number.countries))
    if allowed and not number.countries <= {code.upper() for code in allowed}:
        return f"The number is of {where}, and ALLOWED_COUNTRIES does not list that."
    if number.countries & {code.upper() for code in refused}:
        return f"The number is of {where}, which REFUSED_COUNTRIES lists."
    return ""


def is_country(code: str) -> bool:
    """Whether ``code`` is a country that phonenumbers knows, or ``"001"``."""
    return code in phonenumbers.SUPPORTED_REGIONS or code == NO_COUNTRY
