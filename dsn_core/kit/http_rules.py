"""Rules for HTTP, which need no connection: addresses, proxies, headers and logs. Plugins import them from ``http``."""

from __future__ import annotations

import base64
import contextlib
import datetime
import ipaddress
import logging
import math
import urllib.request
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

from dsn_core.masking import Mask

#: Seconds. A provider that asks for more is asked again after this time.
LONGEST_RETRY_AFTER: Final = 86_400.0


def seconds_of(retry_after: str | None) -> float | None:
    """A ``Retry-After`` in seconds, given as a number or as a date: 0 to a day. None when it says nothing."""
    if not retry_after:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            moment = parsedate_to_datetime(retry_after)
        except ValueError:
            return None
        if moment.tzinfo is None:
            return None
        seconds = (moment - datetime.datetime.now(datetime.UTC)).total_seconds()
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER) if math.isfinite(seconds) else None


def basic_auth(user: str, password: str) -> str:
    """The header ``Authorization`` for a user and password."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def is_secure(url: str) -> bool:
    """Whether ``url`` is https, or leads no further than this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        return False
    if parts.scheme == "https":
        return bool(host)
    return parts.scheme == "http" and is_loopback(host)


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def proxy_for(url: str) -> str:
    """The proxy that the environment wants for ``url``; empty for none. This machine is never reached by one.

    A proxy sees what is not encrypted, and what is not goes to this machine only (:func:`is_secure`).
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return ""
    proxies = urllib.request.getproxies()
    return proxies.get(parts.scheme) or proxies.get("all") or ""


_mask: ContextVar[Mask | None] = ContextVar("dsn_kit_mask", default=None)
#: Those of httpx. A filter of a logger does not see what its children log.
_LOGGERS: Final = ("httpx", *(f"httpcore.{name}" for name in ("connection", "http11", "http2", "proxy", "socks")))


@contextlib.contextmanager
def masked_logs(mask: Mask, loggers: Iterable[str] = ()) -> Iterator[None]:
    """Let ``mask`` go over what httpx logs in this thread, and the ``loggers`` of another library."""
    for name in (*_LOGGERS, *loggers):
        # A second time changes nothing.
        logging.getLogger(name).addFilter(_filter)
    token = _mask.set(mask)
    try:
        yield
    finally:
        _mask.reset(token)


class _MaskingFilter(logging.Filter):
    """Takes secrets out of what is logged while a request is under way: httpcore logs whole addresses."""

    def filter(self, record: logging.LogRecord) -> bool:
        if mask := _mask.get():
            record.msg, record.args = mask(record.getMessage()), ()
        return True


_filter: Final = _MaskingFilter()
