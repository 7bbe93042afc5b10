"""Checks of the options, which ``dsn_plugins`` and ``check --deploy`` show."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from django.conf import settings
from django.core import mail
from django.core.checks import CheckMessage, Error, Warning

from dsn_core.exceptions import nearest
from dsn_email.headers import HeaderError, Mailbox, extra_headers, mailbox, mailboxes
from dsn_email.mailers import DEFAULT_MAILER
from dsn_email.options import EmailOptions


def problems(options: EmailOptions) -> list[CheckMessage]:
    """Everything wrong with ``options``, without a network call."""
    found: list[CheckMessage] = []
    sender = "FROM" if options.FROM else "The setting DEFAULT_FROM_EMAIL"
    found += _addresses(
        lambda: [mailbox("From", options.FROM or settings.DEFAULT_FROM_EMAIL)], sender, "dsn_email.E001"
    )
    found += _addresses(lambda: mailboxes("Reply-To", options.REPLY_TO), "REPLY_TO", "dsn_email.E002")
    found += _refused(lambda: extra_headers(options.HEADERS), "HEADERS", "dsn_email.E003")
    return found + _mailer(options)


def _refused(check: Callable[[], object], option: str, id: str) -> list[CheckMessage]:
    try:
        check()
    except HeaderError as error:
        hint = "Until it is corrected, every message fails without being sent."
        return [Error(f"{option} cannot be used: {error}", hint=hint, id=id)]
    return []


def _addresses(read: Callable[[], Sequence[Mailbox]], option: str, id: str) -> list[CheckMessage]:
    if refused := _refused(read, option, id):
        return refused
    return [
        Warning(
            f"{option} has a display name without the quotes that it needs; it is sent as {item}.",
            hint=f"If that is right, write it like this: {str(item)!r}.",
            id="dsn_email.W006",
        )
        for item in read()
        if item.is_misquoted
    ]


def _mailer(options: EmailOptions) -> list[CheckMessage]:
    if not options.MAILER and not hasattr(settings, "MAILERS"):
        return []
    if not hasattr(mail, "mailers"):
        if not options.MAILER:
            return []
        hint = "Remove the option, and set EMAIL_BACKEND and EMAIL_HOST, or upgrade Django."
        message = f"MAILER is {options.MAILER!r}, but MAILERS needs Django 6.1 or later."
        return [Error(message, hint=hint, id="dsn_email.E004")]
    known = getattr(settings, "MAILERS", {})
    alias = options.MAILER or DEFAULT_MAILER
    if alias in known or (alias == DEFAULT_MAILER and not hasattr(settings, "MAILERS")):
        return []
    hint = (
        f"Add it to MAILERS, or set the option MAILER to one of: {', '.join(map(repr, known)) or '(there are none)'}."
    )
    return [Error(f"MAILERS has no mailer {alias!r}{nearest(alias, known)}.", hint=hint, id="dsn_email.E005")]
