"""The receiver's language and time zone."""

from __future__ import annotations

import contextlib
import logging
import zoneinfo
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.utils import timezone, translation

from dsn_core import conf
from dsn_core.contracts.paths import follow

logger = logging.getLogger("dsn_core.sending")


class Locales:
    """Where users' languages and time zones are, as the settings say now. One per batch."""

    def __init__(self) -> None:
        chosen = conf.current()
        self._language_path = chosen.LANGUAGE_PATH
        self._time_zone_path = chosen.TIME_ZONE_PATH

    @contextlib.contextmanager
    def of(self, user: Any) -> Iterator[None]:
        """The language and time zone of ``user``, or the site's: never those of whoever fired the signal."""
        language = _language(_preference(user, self._language_path))
        # Overriding with None is the site's own time zone.
        with translation.override(language), timezone.override(_zone(_preference(user, self._time_zone_path))):
            yield


def _preference(user: Any, path: str) -> str:
    value = follow(user, path, missing_key_is_none=True) if path and user is not None else None
    return str(value) if value else ""


def _language(code: str) -> str:
    """``code``, or the nearest language of the site; what the site does not speak is the site's default."""
    try:
        return translation.get_supported_language_variant(code) if code else settings.LANGUAGE_CODE
    except LookupError:
        return settings.LANGUAGE_CODE


def _zone(name: str) -> zoneinfo.ZoneInfo | None:
    try:
        return zoneinfo.ZoneInfo(name) if name else None
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        logger.warning("%r is no time zone; the site's is used.", name[:100])
        return None
