"""HTTP requests to providers: connections that are kept, limits of time and size, proxies, and no secret in a log.

Needs the extra ``http`` of dsn-core, which is httpx, as soon as a request is sent.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import ssl
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from dsn_core.exceptions import BadSettings, NoAnswer, NoConnection, missing_library
from dsn_core.kit.http_rules import basic_auth, is_loopback, is_secure, masked_logs, proxy_for, seconds_of
from dsn_core.masking import Mask, causes_of, unmasked
from dsn_core.plugins.errors import describe

if TYPE_CHECKING:
    import httpx

__all__ = [
    "Answer",
    "Request",
    "basic_auth",
    "check_request",
    "close_connections",
    "exchange",
    "is_loopback",
    "is_secure",
    "masked_logs",
    "proxy_for",
    "seconds_of",
]

#: Bytes of an answer that are read, where the caller does not say how many.
LONGEST_ANSWER: Final = 65_536
#: Seconds an idle connection is kept. Shorter than servers do, so that none is used that they are closing.
KEEP_ALIVE: Final = 4.0


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
        """Its JSON, or None if the text is no JSON."""
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
            with contextlib.closing(transport.handle_request(built)) as response:
                return Answer(response.status_code, response.headers, _read(response, end, timeout, longest))
    except library.HTTPError as error:
        raise _trouble(error, progress, mask(describe(error)), name) from None
    except (ImportError, ValueError, library.InvalidURL) as error:
        # A proxy of a kind that is not installed, or with an invalid address.
        raise BadSettings(f"{_capital(name)} cannot be called: {mask(describe(error))}") from None


def check_request(request: Request, *, mask: Mask = unmasked, name: str = "the provider") -> None:
    """Raise :class:`~dsn_core.exceptions.BadSettings` when ``request`` cannot be made. Touches no network."""
    _built(request, mask, name)


def close_connections() -> None:
    """Close the connections that are kept, and read the environment's proxies and trusted certificates again."""
    for idle in list(_idle.values()):
        while idle:
            idle.pop().close()
    _trust.cache_clear()
    _origin_proxy.cache_clear()


#: The connections that no request uses at the moment: by process (a connection must not cross a fork) and origin.
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
        # The one that was used last, since it is the most likely to be still open.
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
    """The trusted certificates. Read once, since that takes longer than a request."""
    context: ssl.SSLContext = _library().create_ssl_context()
    return context


#: The environment is searched once for each origin: it takes a tenth of a quick request.
_origin_proxy = functools.lru_cache(maxsize=256)(proxy_for)


def _library() -> Any:
    try:
        import httpx
    except ImportError:
        raise missing_library("httpx", "http") from None
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
    """The answer's text. An answer that arrives slowly is given up when the time is over."""
    library = _library()
    body = bytearray()
    for part in response.iter_bytes():
        body += part
        if len(body) > longest:
            raise library.DecodingError(f"the answer is longer than {longest} bytes")
        if time.monotonic() > end:
            raise library.ReadTimeout(f"the answer does not end within {timeout:g} s")
    return body.decode(response.encoding or "utf-8", "replace")


class _Progress:
    """Watches how far a request came: httpx raises the same errors before and after it was written."""

    is_written = False
    _is_ours = False

    def note(self, event: str, info: Mapping[str, Any]) -> None:
        """Called by httpcore for each of its steps."""
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
