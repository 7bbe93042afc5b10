"""The accounts of a messenger in ``DSN["MESSENGERS"]``: their names, and their options by name."""

from __future__ import annotations

from typing import Final, TypeVar

from dsn_core import conf
from dsn_core.contracts.options import Options
from dsn_core.exceptions import ConfigurationError
from dsn_core.plugins.registry import registry

OptionsT = TypeVar("OptionsT", bound=Options)

#: Seconds for which a messenger pauses (``Receipt.pause``) when its settings must be corrected first.
CONFIGURATION_PAUSE: Final = 300.0


def accounts_of(messenger: str) -> list[str]:
    """The names under which ``messenger`` is configured, its own included if it has options; sorted."""
    return sorted(alias for alias in conf.current().MESSENGERS if registry.account_of(alias) == messenger)


def options_of(alias: str, messenger: str, options: type[OptionsT]) -> OptionsT:
    """The typed options of ``messenger`` (``alias`` is its name) or of an account of it, for views and commands.

    ``options`` is the class that they are of. Raises :class:`~dsn_core.exceptions.ConfigurationError` when ``alias`` is
    neither, the messenger is not installed, or the options cannot be used.
    """
    if registry.account_of(alias) != messenger:
        raise ConfigurationError(f"DSN['MESSENGERS'] has no account {alias!r} of the messenger {messenger!r}.")
    found = registry.messenger_options(alias)
    if not isinstance(found, options):
        raise ConfigurationError(
            f"The messenger {messenger!r} is another package's: 'manage.py dsn_plugins' says which one has the name."
        )
    return found
