"""HTTP requests to providers: connections that are kept, limits of time and size, proxies, and no secret in a log.

Needs the extra ``http`` of dsn-core, which is httpx, as soon as a request is sent.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import functools
import ipaddress
import json
import logging
import math
import os
import ssl
import time
import urllib.request
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from dsn_core.exceptions import BadSettings, NoAnswer, NoConnection
from dsn_core.kit.causes import causes_of
from dsn_core.kit.extras import missing
from dsn_core.masking import Mask, unmasked
from dsn_core.plugins.errors import describe

if TYPE_CHECKING:
    import httpx

#: Bytes of an answer that are read, where the caller does not say how many.
LONGEST_ANSWER: Final = 65_536
#: Seconds an idle connection is kept. Shorter than servers do, so that none is used that they are closing.
KEEP_ALIVE: Final = 4.0
#: Seconds: however long a provider asks to wait.
LONGEST_RETRY_AFTER: Final = 86_400.0


@dataclass(frozen=True)
class Request:
    """What is to be sent. Give one of ``form``, ``json`` and ``content``; ``files`` go with a ``form``.

    ``files`` holds ``(name, content, mimetype)`` by the name of the field.
    """

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, kw_only=True)
    form: Mapping[str, str] | None = field(default=None, repr=False, kw_only=True)
    json: Any = field(default=None, repr=False, kw_only=True)
    content: bytes | None = field(default=None, repr=False, kw_only=True)
    files: Mapping[str, tuple[str, bytes, str]] | None = field(default=None, repr=False, kw_only=True)


@dataclass(frozen=True)
class Answer:
    """What was answered. The names of ``headers`` may be asked for in any case."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def is_success(self) -> bool:
        """Whether its status is one of 200 to 299."""
        return 200 <= self.status < 300

    @property
    def retry_after(self) -> float | None:
        """Seconds that its header ``Retry-After`` asks to wait; None where it says nothing."""
        return seconds_of(self.headers.get("Retry-After"))

    def json(self) -> Any:
        """Its JSON, or None where it is none."""
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError):
            return None


def exchange(
    request: Request,
    *,
    timeout: float,
    mask: Mask = unmasked,
    longest: int = LONGEST_ANSWER,
    name: str = "the provider",
    user_agent: str = "dsn",
) -> Answer:
    """Send ``request`` and return the answer, whatever its status. Redirects are not followed.

    ``timeout``: seconds for each step (connecting, each read and write), and for the whole answer once it begins.
    ``mask`` takes secrets out of what is raised and logged (``options.mask``). ``longest``: bytes of an answer that
    are read. ``name`` is what errors call the other side. The environment's proxy is used (HTTPS_PROXY, ALL_PROXY,
    NO_PROXY), but never to this machine.

    Raises :class:`~dsn_core.exceptions.NoConnection` when the other side cannot have got the request as a whole,
    :class:`~dsn_core.exceptions.NoAnswer` when it may have, and :class:`~dsn_core.exceptions.BadSettings` when no
    request can work as things are set.
    """
    library = _library()
    progress = _Progress()
    built = _built(request, mask, name)
    built.headers.setdefault("User-Agent", user_agent)
    built.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), timeout)
    built.extensions["trace"] = progress.note
    try:
        with masked_logs(mask), _connection(built.url) as transport:
            end = time.monotonic() + timeout
            response = transport.handle_request(built)
            try:
                return Answer(response.status_code, response.headers, _read(response, end, timeout, longest))
            finally:
                response.close()
    except library.HTTPError as error:
        raise _trouble(error, progress, mask(describe(error)), name) from None
    except (ImportError, ValueError, library.InvalidURL) as error:
        # A proxy of a kind that is not installed, or whose address is none.
        raise BadSettings(f"{_capital(name)} cannot be called: {mask(describe(error))}") from None


def check_request(request: Request, *, mask: Mask = unmasked, name: str = "the provider") -> None:
    """Raise :class:`~dsn_core.exceptions.BadSettings` when ``request`` cannot be made. Touches no network."""
    _built(request, mask, name)


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


def close_connections() -> None:
    """Close the connections that are kept, and read the environment's proxies and trusted certificates again."""
    for idle in list(_idle.values()):
        while idle:
            idle.pop().close()
    _trust.cache_clear()
    _origin_proxy.cache_clear()


# Connections

#: The connections that no request uses just now: by process (a connection must not cross a fork) and origin.
_idle: Final[defaultdict[tuple[int, str], deque[httpx.HTTPTransport]]] = defaultdict(deque)


@contextlib.contextmanager
def _connection(url: httpx.URL) -> Iterator[httpx.HTTPTransport]:
    """A connection to the origin of ``url``, which is kept for the next request.

    A transport for each connection, since the pool of one that all threads share looks at every idle connection for
    each request. A transport and no ``httpx.Client``, since there is no use for cookies and redirects here, and none
    for its log and errors, which show whole addresses.
    """
    library = _library()
    origin = f"{url.scheme}://{url.netloc.decode('ascii')}"
    idle = _idle[os.getpid(), origin]
    try:
        # The one used last: it is the likeliest to be still open.
        found = idle.pop()
    except IndexError:
        found = library.HTTPTransport(
            verify=_trust() if url.scheme == "https" else False,
            limits=library.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEP_ALIVE),
            proxy=_origin_proxy(origin) or None,
            trust_env=False,
        )
    try:
        yield found
    finally:
        idle.append(found)


@functools.cache
def _trust() -> ssl.SSLContext:
    """Whose certificates are believed. Read once: it takes longer than a request."""
    context: ssl.SSLContext = _library().create_ssl_context()
    return context


#: The environment is searched once for each origin: it takes a tenth of a quick request.
_origin_proxy = functools.lru_cache(maxsize=256)(proxy_for)


def _library() -> Any:
    try:
        import httpx
    except ImportError:
        raise missing("httpx", "http") from None
    return httpx


def _built(request: Request, mask: Mask, name: str) -> httpx.Request:
    library = _library()
    try:
        built: httpx.Request = library.Request(
            request.method,
            request.url,
            headers=request.headers,
            data=request.form,
            json=request.json,
            content=request.content,
            files=request.files,
        )
    except (library.InvalidURL, TypeError, ValueError) as error:
        raise BadSettings(f"The request to {name} cannot be made: {mask(describe(error))}") from None
    return built


def _read(response: httpx.Response, end: float, timeout: float, longest: int) -> str:
    """The answer's text. One that comes by drops is given up when the time is over."""
    library = _library()
    parts: list[bytes] = []
    size = 0
    for part in response.iter_bytes():
        parts.append(part)
        size += len(part)
        if size > longest:
            raise library.DecodingError(f"the answer is longer than {longest} bytes")
        if time.monotonic() > end:
            raise library.ReadTimeout(f"the answer does not end within {timeout:g} s")
    return b"".join(parts).decode(response.encoding or "utf-8", "replace")


class _Progress:
    """Watches how far a request came: httpx raises the same errors before and after it was written."""

    def __init__(self) -> None:
        self.is_written = False
        self._is_ours = False

    def note(self, event: str, info: Mapping[str, Any]) -> None:
        """What httpcore tells of its steps."""
        if event == "http11.send_request_body.started":
            # A proxy is first asked for a tunnel, which is not the request.
            self._is_ours = info["request"].method != b"CONNECT"
        elif event == "http11.send_request_body.complete":
            self.is_written = self._is_ours


def _trouble(error: httpx.HTTPError, progress: _Progress, said: str, name: str) -> Exception:
    library = _library()
    if progress.is_written:
        return NoAnswer(f"{_capital(name)} did not answer, and may have taken it: {said}")
    if isinstance(error, library.ProxyError | library.UnsupportedProtocol | library.LocalProtocolError):
        return BadSettings(f"{_capital(name)} cannot be called: {said}")
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes_of(error)):
        return BadSettings(f"The certificate of {name} is not trusted: {said}")
    return NoConnection(f"No connection to {name}: {said}")


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]


# Logs

_mask: ContextVar[Callable[[str], str] | None] = ContextVar("dsn_kit_mask", default=None)
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
