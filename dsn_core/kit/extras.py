"""The error for a library that belongs to an extra of dsn-core and is not installed."""

from __future__ import annotations

from dsn_core.exceptions import ConfigurationError


def missing(library: str, extra: str) -> ConfigurationError:
    """The error that names the extra with which ``library`` is installed."""
    return ConfigurationError(f"This needs {library}, which is not installed: pip install 'dsn-core[{extra}]'.")
