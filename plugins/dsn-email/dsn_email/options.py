"""The options of the messenger, from ``DSN["MESSENGERS"]["email"]``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dsn_core import Options


@dataclass(frozen=True, kw_only=True)
class EmailOptions(Options):
    """Options of the messenger ``email``. All have a default.

    Hosts, ports, user names and passwords are not here: they are in Django's own ``MAILERS``
    or ``EMAIL_*`` settings. ``TIMEOUT`` counts where those set no time-out.
    """

    #: The sender, ``"cinema@example.org"`` or ``"Cinema <cinema@example.org>"``. Empty: DEFAULT_FROM_EMAIL.
    FROM: str = ""
    #: Where answers go: one address or a list. A message template can choose others.
    REPLY_TO: str | Sequence[str] = ()
    #: The alias in the setting MAILERS (Django 6.1 and later). Empty: ``"default"``.
    MAILER: str = ""
    #: Headers that every message gets. A message template can add others.
    HEADERS: Mapping[str, str] = field(default_factory=dict)
