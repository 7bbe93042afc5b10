"""A bot: calls of the Bot API, many at a time."""

from __future__ import annotations

import json
import os
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import httpx

from dsn_telegram.extra import Attachment
from dsn_telegram.options import TelegramOptions
from dsn_telegram.transport import transport_for

#: Calls that are under way at once, each over a connection of its own. Enough for 500 a second at 60 ms each.
CONNECTIONS: Final = 32
#: Bytes of an answer that are read. The Bot API's are a few hundred; what is longer is no answer of its.
_LONGEST_ANSWER: Final = 1_000_000
_JSON: Final = {"Content-Type": "application/json"}
_FILE_FIELDS: Final = {"sendPhoto": "photo", "sendDocument": "document"}


@dataclass(frozen=True)
class Answer:
    """What the Bot API said. ``status`` is that of HTTP; ``is_its_own``: it is in the words of the Bot API."""

    status: int
    ok: bool = False
    result: Any = None
    description: str = ""
    retry_after: float | None = None
    migrate_to_chat_id: str = ""
    is_its_own: bool = True


class NoAnswer(Exception):
    """A call that was not answered.

    ``written``: the whole call went over the line, so that it may have been taken. ``configuration``: it can
    never work as things are set up (TLS, the proxy).
    """

    def __init__(self, reason: str, *, written: bool = False, configuration: bool = False) -> None:
        super().__init__(reason)
        self.written, self.configuration = written, configuration


class Bot:
    """Calls methods of the Bot API as one bot. Kept per process, with its connections: see :func:`bot_of`.

    Each thread that calls has a connection of its own. The bot's threads are started as they are needed.
    """

    def __init__(self, options: TelegramOptions) -> None:
        self.id = options.bot_id
        self._options = options
        self._executor = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="dsn-telegram")
        self._local = threading.local()
        self._transports: list[httpx.HTTPTransport] = []
        self._urls: dict[str, httpx.URL] = {}
        self._lock = threading.Lock()
        self._certificates: ssl.SSLContext | bool = False
        if options.API_BASE.startswith("https:"):
            # Made once, for all connections: it takes long, and much memory.
            self._certificates = httpx.create_ssl_context()

    def __repr__(self) -> str:
        return f"<Bot {self.id}>"

    def call(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        attachment: Attachment | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """Call ``method`` and return what the Bot API says, or raise :class:`NoAnswer`.

        ``timeout`` is in seconds, by default the option TIMEOUT. Params that are None are left out.
        """
        seconds = timeout or self._options.TIMEOUT
        progress = _Progress()
        given = {name: value for name, value in (params or {}).items() if value is not None}
        try:
            return self._answer(method, given, attachment, seconds, progress)
        except httpx.HTTPError as error:
            raise self._no_answer(error, progress) from None
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            # A proxy of a kind that is not installed, an API_BASE that is no address.
            said = self._options.mask(str(error))
            raise NoAnswer(f"The Bot API cannot be called: {said}", configuration=True) from None

    def in_background(self, function: Callable[..., None], *arguments: Any) -> None:
        """Run ``function`` in one of the bot's threads, where its calls have a connection."""
        self._executor.submit(function, *arguments)

    def close(self) -> None:
        """End the threads, once their calls are through, and the connections."""
        self._executor.shutdown()
        with self._lock:
            while self._transports:
                self._transports.pop().close()
        self._local = threading.local()

    def _answer(
        self,
        method: str,
        params: Mapping[str, Any],
        attachment: Attachment | None,
        seconds: float,
        progress: _Progress,
    ) -> Answer:
        url = self._urls.get(method)
        if url is None:
            base = self._options.API_BASE.rstrip("/")
            url = self._urls[method] = httpx.URL(f"{base}/bot{self._options.BOT_TOKEN}/{method}")
        extensions = {"trace": progress.note, "timeout": httpx.Timeout(seconds).as_dict()}
        if attachment is None:
            body = json.dumps(params, separators=(",", ":")).encode("ascii")
            request = httpx.Request("POST", url, headers=_JSON, content=body, extensions=extensions)
        else:
            request = httpx.Request(
                "POST",
                url,
                data={name: value if isinstance(value, str) else json.dumps(value) for name, value in params.items()},
                files={_FILE_FIELDS[method]: (attachment.name, attachment.content, attachment.mimetype)},
                extensions=extensions,
            )
        # A time-out is for each read; an answer that drips must end, too.
        deadline = time.monotonic() + seconds * 2
        response = self._transport().handle_request(request)
        try:
            parts, size = [], 0
            for part in response.iter_bytes():
                parts.append(part)
                size += len(part)
                if size > _LONGEST_ANSWER or time.monotonic() > deadline:
                    raise httpx.ReadTimeout("the answer does not end")
        finally:
            response.close()
        return _read(response.status_code, b"".join(parts), response.headers.get("Retry-After", ""))

    def _transport(self) -> httpx.HTTPTransport:
        """This thread's own connection: one shared pool of many would cost more time than the calls."""
        transport: httpx.HTTPTransport | None = getattr(self._local, "transport", None)
        if transport is None:
            transport = self._local.transport = transport_for(self._options.API_BASE, self._certificates)
            with self._lock:
                self._transports.append(transport)
        return transport

    def _no_answer(self, error: httpx.HTTPError, progress: _Progress) -> NoAnswer:
        text = self._options.mask(str(error))
        said = f"{type(error).__name__}: {text}" if text else type(error).__name__
        if progress.written:
            return NoAnswer(f"The Bot API did not answer, and may have taken it: {said}", written=True)
        if isinstance(error, httpx.ProxyError | httpx.UnsupportedProtocol):
            return NoAnswer(f"The Bot API cannot be called: {said}", configuration=True)
        if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error)):
            return NoAnswer(f"The certificate of the Bot API is not trusted: {said}", configuration=True)
        return NoAnswer(f"No connection to the Bot API: {said}")


class _Progress:
    """Watches how far a call came: httpx raises the same errors before and after it was written."""

    def __init__(self) -> None:
        self.written = False
        self._is_call = False

    def note(self, event: str, info: Mapping[str, Any]) -> None:
        """What httpcore tells of its steps."""
        if event == "http11.send_request_body.started":
            # A proxy is first asked for a tunnel, which is no call.
            self._is_call = info["request"].method == b"POST"
        elif event == "http11.send_request_body.complete":
            self.written = self._is_call


def _read(status: int, body: bytes, retry_after: str) -> Answer:
    """An answer, of whoever it is."""
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    if not isinstance(said, dict) or not isinstance(said.get("ok"), bool):
        return Answer(status, retry_after=_number(retry_after), is_its_own=False)
    parameters = said.get("parameters")
    parameters = parameters if isinstance(parameters, dict) else {}
    wait = _number(parameters.get("retry_after"))
    return Answer(
        status=status,
        ok=said["ok"],
        result=said.get("result"),
        description=" ".join(str(said.get("description", "")).split())[:500],
        retry_after=_number(retry_after) if wait is None else wait,
        migrate_to_chat_id=str(parameters.get("migrate_to_chat_id") or ""),
    )


def _number(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]  # whatever it is, it is tried
    except (TypeError, ValueError):
        return None
    return number if 0 <= number < 1e9 else None


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and len(found) < 10:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


#: The bots of this process. Connections last longer than a batch.
_bots: dict[TelegramOptions, Bot] = {}
_bots_lock = threading.Lock()


def bot_of(options: TelegramOptions) -> Bot:
    """The bot with these options: one object per process."""
    with _bots_lock:
        if options not in _bots:
            _bots[options] = Bot(options)
        return _bots[options]


def close_all() -> None:
    """Close every bot, with its threads and connections. The next :func:`bot_of` makes a new one."""
    with _bots_lock:
        bots = list(_bots.values())
        _bots.clear()
    for bot in bots:
        bot.close()


def _after_fork() -> None:
    """Neither a connection nor a thread crosses a fork, and the lock may have been held by one that does not."""
    global _bots_lock  # noqa: PLW0603 - a new lock for a new process
    _bots_lock = threading.Lock()
    _bots.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
