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
from dsn_core.exceptions import ConfigurationError
from dsn_core.payload.private import follow

logger = logging.getLogger("dsn_core.sending")


class Locales:
    """Activates users' languages and time zones, from the paths in the settings. One per batch.

    A context manager, within which :meth:`switch` changes to those of one user after the other. Its end restores those
    from before.
    """

    def __init__(self) -> None:
        chosen = conf.current()
        self._language_path = chosen.LANGUAGE_PATH
        self._time_zone_path = chosen.TIME_ZONE_PATH
        self._held: tuple[str, str] | None = None
        self._before = contextlib.ExitStack()

    def __enter__(self) -> Locales:
        return self

    def __exit__(self, *error: object) -> None:
        self._held = None
        self._before.close()

    def switch(self, user: Any) -> bool:
        """Change to the language and time zone of ``user``, else the site's; never those of the code that sends.

        Returns whether they differ from those of the user before.
        """
        wanted = self.of_user(user)
        if wanted == self._held:
            return False
        self._before.close()
        self._before.enter_context(translation.override(_language(wanted[0])))
        # Overriding with None is the site's own time zone.
        self._before.enter_context(timezone.override(_zone(wanted[1])))
        self._held = wanted
        return True

    def of_user(self, user: Any) -> tuple[str, str]:
        """The language and time zone of ``user``; empty: the site's.

        Raises :class:`~dsn_core.exceptions.ConfigurationError` where a path of the settings cannot be followed.
        """
        return (
            _preference(user, self._language_path, "LANGUAGE_PATH"),
            _preference(user, self._time_zone_path, "TIME_ZONE_PATH"),
        )

    @contextlib.contextmanager
    def of(self, user: Any) -> Iterator[None]:
        """:meth:`switch` within one block."""
        with self:
            self.switch(user)
            yield


def _preference(user: Any, path: str, setting: str) -> str:
    if not path or user is None:
        return ""
    try:
        value = follow(user, path, missing_key_is_none=True)
    except ConfigurationError as error:
        raise ConfigurationError(f"DSN[{setting!r}]: {error}") from error
    return str(value) if value else ""


def _language(code: str) -> str:
    """``code``, or the nearest language that the site supports, else the site's default."""
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
