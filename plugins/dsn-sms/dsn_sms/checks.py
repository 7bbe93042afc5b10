"""Checks the options, for ``dsn_plugins`` and ``check --deploy``."""

from __future__ import annotations

from django.core.checks import CheckMessage, Error, Warning
from django.urls import NoReverseMatch, reverse

from dsn_core.kit import http, nearest
from dsn_sms import numbers
from dsn_sms.meanings import Meaning
from dsn_sms.options import SMSOptions
from dsn_sms.providers import find


def problems(options: SMSOptions) -> list[CheckMessage]:
    """Everything wrong with ``options``, without a network call."""
    provider = find(options.PROVIDER)
    found: list[CheckMessage] = []
    if provider.needs_sender and not options.FROM:
        hint = "Set it to a number or a name that the provider lets you send from."
        found.append(Error("FROM is missing.", hint=hint, id="dsn_sms.E001"))
    for name in ("REGION", "ALLOWED_COUNTRIES", "REFUSED_COUNTRIES", "SENDERS"):
        found += _countries(name, getattr(options, name))
    known = [str(meaning) for meaning in Meaning]
    for code, value in options.ERRORS.items():
        if value not in known:
            message = f"ERRORS[{code!r}] is {value!r}, which no error can mean{nearest(str(value), known)}."
            found.append(Error(message, hint=f"It can be {', '.join(known)}.", id="dsn_sms.E003"))
    for name, value in (("API_BASE", options.API_BASE), ("PUBLIC_URL", options.PUBLIC_URL)):
        if value and not http.is_secure(value):
            hint = "Texts, numbers and passwords would travel unencrypted."
            found.append(Error(f"{name} is not https.", hint=hint, id="dsn_sms.E004"))
    return [*found, *_urls(options), *provider.check(options)]


def _countries(name: str, value: object) -> list[CheckMessage]:
    codes = [value] if isinstance(value, str) and value else list(value or ())  # type: ignore[call-overload]  # a collection of texts
    wrong = [code for code in codes if not (isinstance(code, str) and numbers.is_country(code.upper()))]
    if name == "SENDERS":
        # Looked up as they are.
        wrong += [code for code in codes if code not in wrong and code != code.upper()]
    if not wrong:
        return []
    hint = "Countries are written as ISO 3166 does: DE, GB, US."
    return [Error(f"{name} names no country with {', '.join(map(repr, wrong))}.", hint=hint, id="dsn_sms.E002")]


def _urls(options: SMSOptions) -> list[CheckMessage]:
    if not options.PUBLIC_URL:
        return []
    try:
        reverse("dsn_sms:callback", args=["sms"])
    except NoReverseMatch:
        hint = "Add path('sms/', include('dsn_sms.urls')) to the site's URLs, or remove PUBLIC_URL."
        return [Warning("PUBLIC_URL is set, but no report can arrive.", hint=hint, id="dsn_sms.W005")]
    return []
