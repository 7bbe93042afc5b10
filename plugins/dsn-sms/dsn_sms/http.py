"""One request to a provider: pooled, limited in time and size, and without its secrets in the logs."""

from __future__ import annotations

import base64
import functools
import ipaddress
import json
import logging
import os
import ssl
import time
import urllib.request
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from dsn_sms.exceptions import BadSettings, NoAnswer, NoConnection

#: Bytes of an answer that are read. Those of providers have some hundreds.
LONGEST_ANSWER: Final = 65_536
#: Seconds an idle connection is kept. Shorter than servers do, so that none is used that they are closing.
KEEP_ALIVE: Final = 4.0
USER_AGENT: Final = "dsn-sms"


@dataclass(frozen=True)
class Answer:
    """What a provider answered."""

    status: int
    headers: httpx.Headers
    text: str

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The answer's JSON, or None where it is none."""
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError):
            return None


#: The connections that nobody uses just now: by process (a connection must not cross a fork), origin and proxy.
_idle: Final[defaultdict[tuple[int, str, str], deque[httpx.HTTPTransport]]] = defaultdict(deque)


@contextmanager
def connection(url: httpx.URL) -> Iterator[httpx.HTTPTransport]:
    """A connection to the origin of ``url``, which is kept for whoever comes next.

    A transport per connection, since the pool of one that all threads share looks at every idle connection for each
    request. A transport and no ``httpx.Client``, since there is no use for cookies and redirects here, and none for
    its log, which shows whole addresses.
    """
    proxy = proxy_for(url)
    idle = _idle[os.getpid(), f"{url.scheme}://{url.netloc.decode()}", proxy]
    try:
        # The one used last: it is the likeliest to be still open.
        found = idle.pop()
    except IndexError:
        found = httpx.HTTPTransport(
            verify=_trust(),
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEP_ALIVE),
            proxy=proxy or None,
        )
    try:
        yield found
    finally:
        idle.append(found)


@functools.cache
def _trust() -> ssl.SSLContext:
    """Whose certificates are believed. Read once: it takes longer than a request."""
    return httpx.create_ssl_context()


def proxy_for(url: httpx.URL) -> str:
    """The proxy that the environment wants for ``url``; empty for none. This machine is never reached by one."""
    if is_loopback(url.host) or urllib.request.proxy_bypass(url.host):
        return ""
    proxies = urllib.request.getproxies()
    return proxies.get(url.scheme) or proxies.get("all") or ""


def forget_connections() -> None:
    """Close the connections that are kept, and read the trusted certificates again."""
    for idle in list(_idle.values()):
        while idle:
            idle.pop().close()
    _trust.cache_clear()


def exchange(request: httpx.Request, *, timeout: float, mask: Callable[[str], str]) -> Answer:
    """Send ``request`` and return the answer, whatever its status. ``timeout``: seconds for each step, and for all.

    Raises :class:`NoConnection` when the provider cannot have got the request, :class:`NoAnswer` when it may have, and
    :class:`BadSettings` when no request can work as things are set.
    """
    end = time.monotonic() + timeout
    request.headers.setdefault("User-Agent", USER_AGENT)
    request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), timeout)
    try:
        with masked(mask), connection(request.url) as transport:
            response = transport.handle_request(request)
            try:
                return Answer(response.status_code, response.headers, _read(response, end))
            finally:
                response.close()
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
        said = mask(describe(error))
        if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error)):
            raise BadSettings(f"The provider's certificate is not trusted: {said}") from None
        raise NoConnection(f"No connection to the provider: {said}") from None
    except (httpx.WriteError, httpx.WriteTimeout) as error:
        # What was promised by Content-Length did not leave this machine as a whole.
        raise NoConnection(f"The connection was lost before the request was sent: {mask(describe(error))}") from None
    except (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL) as error:
        raise BadSettings(f"The request cannot be made: {mask(describe(error))}") from None
    except httpx.HTTPError as error:
        raise NoAnswer(f"The provider's answer did not come: {mask(describe(error))}") from None


def _read(response: httpx.Response, end: float) -> str:
    """The answer's text. One that comes by drops is given up when the time is over."""
    parts: list[bytes] = []
    size = 0
    for part in response.iter_raw():
        parts.append(part)
        size += len(part)
        if size > LONGEST_ANSWER:
            raise httpx.DecodingError(f"it is longer than {LONGEST_ANSWER} bytes")
        if time.monotonic() > end:
            raise httpx.ReadTimeout("it was not complete in time")
    return b"".join(parts).decode(response.encoding or "utf-8", "replace")


def basic_auth(user: str, password: str) -> str:
    """The header ``Authorization`` for a user and password."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def describe(error: BaseException) -> str:
    """An error in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(10):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


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
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# Logs

_mask: ContextVar[Callable[[str], str] | None] = ContextVar("dsn_sms_mask", default=None)

#: The loggers of the libraries that we send with. A filter of a logger does not see what its children log.
_LOGGERS: Final = (
    "httpx",
    *(f"httpcore.{name}" for name in ("connection", "http11", "http2", "proxy", "socks")),
    *("boto3", "botocore.auth", "botocore.endpoint", "botocore.hooks", "botocore.httpsession", "botocore.parsers"),
    *("botocore.client", "botocore.regions", "botocore.retryhandler", "urllib3.connectionpool"),
)


class _MaskingFilter(logging.Filter):
    """Takes secrets out of what is logged while a request is under way: httpx logs addresses at INFO."""

    def filter(self, record: logging.LogRecord) -> bool:
        if mask := _mask.get():
            record.msg, record.args = mask(record.getMessage()), ()
        return True


_filter: Final = _MaskingFilter()
for _name in _LOGGERS:
    logging.getLogger(_name).addFilter(_filter)


@contextmanager
def masked(mask: Callable[[str], str]) -> Iterator[None]:
    """Let ``mask`` go over all that these libraries log in this thread."""
    token = _mask.set(mask)
    try:
        yield
    finally:
        _mask.reset(token)
