"""The providers: those that come along, and those of other packages (entry points in the group ``dsn_sms``)."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, Final

from django.utils.module_loading import import_string

from dsn_core.exceptions import ConfigurationError, UnknownName
from dsn_sms.providers.base import BaseProvider

#: The group of entry points by which another package brings a provider.
GROUP: Final = "dsn_sms"
#: Imported when they are chosen: each needs a library of its own.
BUILT_IN: Final[Mapping[str, str]] = {
    "console": "dsn_sms.providers.console.ConsoleProvider",
    "http": "dsn_sms.providers.gateway.GatewayProvider",
    "sns": "dsn_sms.providers.sns.SNSProvider",
    "twilio": "dsn_sms.providers.twilio.TwilioProvider",
    "vonage": "dsn_sms.providers.vonage.VonageProvider",
}


@functools.cache
def find(name: str) -> type[BaseProvider]:
    """The provider ``name``. A built-in one goes before another package's.

    Raises :class:`~dsn_core.exceptions.ConfigurationError` when there is none, or it cannot be used.
    """
    found: Any
    if name in BUILT_IN:
        found = import_string(BUILT_IN[name])
    else:
        points = {point.name: point for point in entry_points(group=GROUP)}
        if name not in points:
            raise UnknownName("SMS provider", name, sorted({*BUILT_IN, *points}), advice=_ADVICE)
        try:
            found = points[name].load()
        except Exception as error:
            raise ConfigurationError(
                f"The SMS provider {name!r} cannot be imported: {type(error).__name__}: {error}"
            ) from error
    if not (isinstance(found, type) and issubclass(found, BaseProvider)):
        raise ConfigurationError(f"The SMS provider {name!r} is {found!r}; it is a subclass of dsn_sms.BaseProvider.")
    return found


_ADVICE: Final = f"Other packages bring theirs by an entry point in the group {GROUP}."
