"""What the app ``ledger`` brings."""

from __future__ import annotations

from dsn_core import BaseMessenger, hookimpl
from tests.ledger.messenger import LedgerMessenger


@hookimpl
def dsn_messengers() -> list[type[BaseMessenger]]:
    return [LedgerMessenger]
