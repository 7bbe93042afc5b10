"""``DSN["ONLY_TO"]``: outside of production, messages go to listed receivers only."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from typing import Any, Final

from dsn_core import conf

UNLISTED: Final = "DSN['ONLY_TO'] does not list this receiver"
EVERYBODY: Final = "*"

#: What telephone numbers are written with, and patterns of them.
_NUMBER: Final = re.compile(r"[\s(]*\+?[\d\s().\-/*?]+\Z")
_SPACING: Final = re.compile(r"[\s().\-/]")
#: What no single address has: it may be several, or one with a name, of which another part decides where it goes.
_NOT_ONE: Final = re.compile(r"[\s,;<>\"\\]|@.*@")


def patterns() -> Sequence[str] | None:
    """What an address has to fit; None when messages go to everybody."""
    given = conf.current().ONLY_TO
    return None if given is None or EVERYBODY in given else given


def is_listed(address: str) -> bool:
    """Whether messages may go to ``address``. Neither case counts, nor how a number is spaced."""
    given = patterns()
    if given is None:
        return True
    plain = _plain(address)
    if not plain or _NOT_ONE.search(plain) or not plain.isprintable():
        return False
    return any(fnmatch.fnmatchcase(plain, _plain(pattern)) for pattern in given)


def email_of(user: Any) -> str:
    """The address by which a user is compared whose messenger's address is not known."""
    return str(getattr(user, getattr(user, "EMAIL_FIELD", "email"), "") or "")


def _plain(text: str) -> str:
    text = text.strip().lower()
    return _SPACING.sub("", text) if _NUMBER.match(text) else text
