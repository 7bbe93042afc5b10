"""Finds the provider of an account, for the callback view."""

from __future__ import annotations

from dsn_core.exceptions import ConfigurationError
from dsn_core.kit import options_of
from dsn_sms.messenger import SMSMessenger
from dsn_sms.options import SMSOptions
from dsn_sms.providers import find
from dsn_sms.providers.base import BaseProvider


def provider_of(alias: str) -> BaseProvider | None:
    """The provider of the account ``alias``, or None when there is no such account or its options do not do."""
    try:
        options = options_of(alias, SMSMessenger.name, SMSOptions)
    except ConfigurationError:
        return None
    return find(options.PROVIDER)(options, alias)
