"""Makes Django's mail backends with a time-out, and masks their secrets in texts."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any, Final

from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.mail.backends.base import BaseEmailBackend

DEFAULT_MAILER: Final = "default"
_SECRET_NAME: Final = re.compile(r"pass|secret|token|key|auth", re.IGNORECASE)


def connect(mailer: str, timeout: float) -> BaseEmailBackend:
    """A backend that is not opened yet, as MAILERS or EMAIL_* say; ``timeout`` (seconds) where they set none.

    Errors of the settings are raised as Django raises them.
    """
    mailers = getattr(mail, "mailers", None)
    connection: Any
    if mailers is not None:
        # Without MAILERS, Django makes "default" from EMAIL_*, and warns of nothing in this file.
        connection = mailers[mailer or DEFAULT_MAILER]
    elif mailer:
        raise ImproperlyConfigured(f"The option MAILER ({mailer!r}) needs Django 6.1 or later.")
    else:
        connection = mail.get_connection()
    # No local variable holds its attributes, with the password among them: error reports print those.
    if "timeout" in vars(connection) and not connection.timeout:
        connection.timeout = timeout
    if vars(connection).get("fail_silently"):
        # With it, a failure would look like a success.
        connection.fail_silently = False
    return connection  # type: ignore[no-any-return]  # Django's factories say nothing narrower for custom backends


def without_secrets(text: str, connection: object) -> str:
    """``text`` without the passwords and keys of ``connection``."""
    for secret in sorted(set(_secrets(connection)), key=len, reverse=True):
        text = text.replace(secret, "********")
    return text


def _secrets(connection: object) -> Iterator[str]:
    """The secrets of a backend, also in the forms in which SMTP sends them."""
    own = getattr(connection, "__dict__", {})
    user = own.get("username") or ""
    for name, value in own.items():
        if _SECRET_NAME.search(name) and isinstance(value, str) and len(value) > 2:
            yield value
            for sent in (value, f"\0{user}\0{value}"):
                yield base64.b64encode(sent.encode(errors="replace")).decode()
