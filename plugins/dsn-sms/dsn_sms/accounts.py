"""The accounts of the messenger ``sms`` in the settings: what the callback view works for."""

from __future__ import annotations

from collections.abc import Mapping

from django.conf import settings

from dsn_core.exceptions import ConfigurationError
from dsn_sms.messenger import SMSMessenger
from dsn_sms.options import SMSOptions
from dsn_sms.providers import find
from dsn_sms.providers.base import BaseProvider


def provider_of(alias: str) -> BaseProvider | None:
    """The provider of the account ``alias``, or None when there is no such account or its options do not do."""
    accounts = (getattr(settings, "DSN", None) or {}).get("MESSENGERS", {})
    given = accounts.get(alias) if isinstance(accounts, Mapping) else None
    if not isinstance(given, Mapping) or given.get("MESSENGER", alias) != SMSMessenger.name:
        return None
    try:
        options = SMSOptions.from_mapping({name: value for name, value in given.items() if name != "MESSENGER"})
    except ConfigurationError:
        return None
    return find(options.PROVIDER)(options, alias)
