"""Makes an SMS out of a message."""

from __future__ import annotations

from dataclasses import dataclass

from dsn_core import Message, Receipt
from dsn_core.exceptions import InvalidAddress
from dsn_sms import numbers, texts
from dsn_sms.encoding import Encoding, measure
from dsn_sms.options import SMSOptions


@dataclass(frozen=True)
class SMS:
    """What a provider's ``send`` gets.

    ``to``          the number, E.164: ``"+4915112345678"``
    ``country``     its country, as an ISO code
    ``sender``      the sender; may be empty
    ``text``        cleaned, and within the limit of segments
    ``encoding``    ``"GSM-7"`` or ``"UCS-2"``
    ``segments``    how many it takes
    ``id``          the same at every attempt: the provider's idempotency key or client reference
    ``report_url``  where the provider should report what became of it; may be empty
    ``message``     what it was made from
    """

    to: str
    country: str
    sender: str
    text: str
    encoding: Encoding
    segments: int
    id: str
    report_url: str
    message: Message


def prepare(message: Message, options: SMSOptions, *, characters: int, report_url: str) -> SMS | Receipt:
    """The SMS for ``message``, or the receipt that says why there is none. Touches no network.

    ``characters`` is how many the provider takes at most.
    """
    try:
        number = numbers.parse(message.address, options.REGION, ignore_extension=options.IGNORE_EXTENSIONS)
    except InvalidAddress as error:
        return Receipt.invalid_address(str(error), message=message)
    if why := numbers.refusal(number, options.ALLOWED_COUNTRIES, options.REFUSED_COUNTRIES):
        # The address is good, and must not be removed for this.
        return Receipt.failed(why, message=message)
    text = texts.clean(message.text)
    if options.SMART_ENCODING:
        text = texts.without_typography(text)
    if not text:
        return Receipt.failed("The message has no text.", message=message)
    try:
        text = texts.fit(text, segments=options.MAX_SEGMENTS, characters=characters, cut=options.LONG_TEXT == "cut")
    except texts.TooLong as error:
        hint = "Shorten the message template, raise MAX_SEGMENTS, or set LONG_TEXT to 'cut'."
        return Receipt.failed(f"{error} {hint}", message=message)
    size = measure(text)
    return SMS(
        to=number.e164,
        country=number.country,
        sender=options.SENDERS.get(number.country, options.FROM),
        text=text,
        encoding=size.encoding,
        segments=size.segments,
        id=message.id,
        report_url=report_url,
        message=message,
    )
