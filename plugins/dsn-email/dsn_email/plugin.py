"""What the entry point ``email`` names: the plugin's hooks."""

from __future__ import annotations

from collections.abc import Iterable

from dsn_core import BaseMessenger, hookimpl
from dsn_email.messenger import EmailMessenger


@hookimpl
def dsn_messengers() -> Iterable[type[BaseMessenger]]:
    """The messenger ``email``."""
    return [EmailMessenger]
