"""dsn-email: the messenger ``email`` of dsn-core, which sends through Django's mail."""

from __future__ import annotations

from dsn_email.messenger import EmailMessenger
from dsn_email.options import EmailOptions

__all__ = ["EmailMessenger", "EmailOptions"]
