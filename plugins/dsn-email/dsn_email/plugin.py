"""The hooks of the plugin, which the entry point ``email`` names."""

from __future__ import annotations

from collections.abc import Iterable

from dsn_core import BaseMessenger, hookimpl
from dsn_email.messenger import EmailMessenger


@hookimpl
def dsn_messengers() -> Iterable[type[BaseMessenger]]:
    """The messenger ``email``."""
    return [EmailMessenger]
