"""Every error that dsn-core raises on purpose.

::

    DSNError
    ├── ConfigurationError        settings, options or stored rows that cannot work
    │   └── UnknownName           a name that nothing installed has
    ├── ContractError             a plugin class that does not keep its contract
    ├── InvalidAddress            an address that its messenger cannot use
    ├── PayloadError              an event's payload that cannot be read back
    │   └── NotStored             a value that the event did not store, and that is used
    ├── ProviderError             a provider that could not be called, or did not answer
    │   ├── BadSettings           no request can work as things are set
    │   ├── NoAnswer              it may have got the request
    │   └── NoConnection          it cannot have got the request
    ├── RenderingError            a message template that cannot be rendered
    └── SnapshotError             an attempt to save or delete a rebuilt instance
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DSNError(Exception):
    """The base of every error of dsn-core."""


class ConfigurationError(DSNError):
    """Settings, a messenger's options or a stored row cannot work as they are."""


class UnknownName(ConfigurationError):
    """Nothing that is installed has this name.

    ``kind`` says of what it is the name ("messenger", "verb", ...), ``known`` lists the names that exist; the message
    proposes the nearest one.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str] = (), *, advice: str = "") -> None:
        self.kind, self.name = kind, name
        super().__init__(f"There is no {kind} {name!r}{nearest(name, known)}.{' ' + advice if advice else ''}")


class ContractError(DSNError):
    """A class that a plugin registered does not keep its contract."""


class InvalidAddress(DSNError):
    """An address that its messenger cannot use."""


class PayloadError(DSNError):
    """The payload of an event cannot be read back, e.g. because its model was removed."""


class NotStored(PayloadError):
    """A template, a path or code uses a value that the event does not hold: too large, of no known type, or secret."""


class ProviderError(DSNError):
    """A provider could not be called, or did not answer. Its text says why, without secrets."""


class BadSettings(ProviderError):
    """No request to the provider can work before its settings are corrected."""


class NoAnswer(ProviderError):
    """The provider may have got the request: its answer did not come."""


class NoConnection(ProviderError):
    """The provider cannot have got the request as a whole."""


class RenderingError(DSNError):
    """A message template cannot be compiled or rendered."""


class SnapshotError(DSNError):
    """An instance that was rebuilt from an event was about to be saved or deleted."""


def nearest(name: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)``, or an empty string when no known name is near."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""


def missing_library(library: str, extra: str) -> ConfigurationError:
    """The error that names the extra with which ``library`` is installed."""
    return ConfigurationError(f"This needs {library}, which is not installed: pip install 'dsn-core[{extra}]'.")
