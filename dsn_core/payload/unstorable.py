"""Logging of values that cannot be stored, once per type."""

from __future__ import annotations

import logging
from typing import Final

from dsn_core.masking import exc_info
from dsn_core.plugins.errors import told

logger = logging.getLogger("dsn_core.intake")

#: What was logged: names of types, with the error's type.
_logged: Final[set[tuple[str, str]]] = set()


def log_once(value: object, error: BaseException) -> None:
    """Log that storing ``value`` raised ``error``, once for each type, since signals may be frequent."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if (what := (kind, type(error).__name__)) not in _logged:
        _logged.add(what)
        said = "A value of the type %s cannot be stored in an event: %s. This is logged once."
        logger.error(said, kind, told(error), exc_info=exc_info(error))
