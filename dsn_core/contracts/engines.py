"""The interface of template engines.

The engines are implemented in a higher layer, and registered here when Django starts.
"""

from __future__ import annotations

from typing import Any, Protocol

from dsn_core.exceptions import ConfigurationError, UnknownName


class CompiledTemplate(Protocol):
    """A compiled template. Its parts are ``subject``, ``text`` and ``html``."""

    def parts(self, variables: dict[str, Any]) -> dict[str, str]:
        """Render, and return the parts that the template has, by name."""


class Engine(Protocol):
    """Compiles the source or the file of one message template."""

    def from_string(self, source: str, part: str) -> CompiledTemplate:
        """Compile ``source`` as ``part``. With ``""`` its blocks decide, or whether it looks like HTML."""

    def from_file(self, file_name: str) -> CompiledTemplate:
        """Compile the file ``file_name`` of the template folders."""


engines: dict[str, Engine] = {}


def engine(name: str) -> Engine:
    """The engine called ``name``."""
    if not engines:
        raise ConfigurationError(
            "Message templates need Django to be set up with 'dsn_core' in INSTALLED_APPS before they can be rendered."
        )
    try:
        return engines[name]
    except KeyError:
        raise UnknownName("template engine", name, engines) from None
