"""A real SMTP server on loopback with answers that a test chooses, and mail settings for every Django.

These tests need no settings of the repository: where none are named they configure Django themselves,
so that they run beside installed wheels as well.
"""

from __future__ import annotations

import asyncio
import email
import email.policy
import os
import socket
import threading
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from typing import Any

import django
import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from django.conf import settings as django_settings

from dsn_core import Message, Receipt
from dsn_email import EmailMessenger

IN_MEMORY = "django.core.mail.backends.locmem.EmailBackend"
HAS_MAILERS = django.VERSION >= (6, 1)


def pytest_configure() -> None:
    if django_settings.configured or os.environ.get("DJANGO_SETTINGS_MODULE"):
        return
    mail = {"MAILERS": {"default": {"BACKEND": IN_MEMORY}}} if HAS_MAILERS else {"EMAIL_BACKEND": IN_MEMORY}
    django_settings.configure(
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "dsn_core"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        SECRET_KEY="only-for-tests",
        USE_TZ=True,
        **mail,
    )
    django.setup()


class SMTPServer:
    """An SMTP server in a thread of its own.

    ``received`` holds what it accepted, ``connections`` counts those that were made to it, ``answers``
    are the test's: by command (``MAIL``, ``RCPT``, ``354`` for the start and ``DATA`` for the end of a
    message) a function of the address or sender that returns a reply, ``HANG_UP``, ``HANG`` or None.
    """

    HANG_UP = "hang up"
    HANG = "hang"

    def __init__(self, password: str | None = None) -> None:
        self.received: list[tuple[str, EmailMessage]] = []
        self.connections = 0
        self.answers: dict[str, Callable[[str], str | None]] = {}
        self.password = password
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="smtp-server")

    def __enter__(self) -> SMTPServer:
        self._thread.start()
        assert self._ready.wait(10), "the SMTP server did not start"
        return self

    def __exit__(self, *exception: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive(), "the SMTP server did not stop"

    @property
    def mails(self) -> list[EmailMessage]:
        return [mail for _, mail in self.received]

    @property
    def receivers(self) -> list[str]:
        return [receiver for receiver, _ in self.received]

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
            pending = asyncio.all_tasks(self._loop)
            for task in pending:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        server = await self._loop.create_server(self._protocol, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()

    def _protocol(self) -> SMTP:
        self.connections += 1
        login: dict[str, Any] = {}
        if self.password is not None:
            login = {"authenticator": self._login, "auth_require_tls": False}
        protocol = _Protocol(self, hostname="mx.example.org", loop=self._loop, **login)
        protocol.owner = self
        return protocol

    def _login(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=data.password.decode() == self.password, handled=False)

    async def answer(self, command: str, about: str, smtp: SMTP) -> str | None:
        """What the test wants to be answered to ``command``."""
        wanted = self.answers[command](about) if command in self.answers else None
        if wanted == self.HANG:
            await asyncio.sleep(60)
        if wanted == self.HANG_UP:
            assert smtp.transport is not None
            smtp.transport.abort()
            return "421 never seen"
        return wanted

    async def handle_MAIL(self, smtp: SMTP, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        if wanted := await self.answer("MAIL", address, smtp):
            return wanted
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, smtp: SMTP, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        if wanted := await self.answer("RCPT", address, smtp):
            return wanted
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, smtp: SMTP, session: Session, envelope: Envelope) -> str:
        receiver = envelope.rcpt_tos[0]
        if wanted := await self.answer("DATA", receiver, smtp):
            return wanted
        assert isinstance(envelope.content, bytes)
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        self.received.append((receiver, mail))
        return "250 OK"


class _Protocol(SMTP):
    owner: SMTPServer

    async def smtp_DATA(self, arg: str) -> None:
        assert self.envelope is not None
        if wanted := await self.owner.answer("354", self.envelope.rcpt_tos[0], self):
            if self.transport is not None and not self.transport.is_closing():
                await self.push(wanted)
            return
        await super().smtp_DATA(arg)


@pytest.fixture
def server() -> Iterator[SMTPServer]:
    with SMTPServer() as running:
        yield running


@pytest.fixture
def use_smtp(settings: Any) -> Callable[..., None]:
    """Point the project's mail settings at a port. Further options in the lower-case names of MAILERS."""

    def use(port: int, **options: Any) -> None:
        if HAS_MAILERS:
            settings.MAILERS = {"default": {"OPTIONS": {"host": "127.0.0.1", "port": port, **options}}}
            return
        names = {"username": "EMAIL_HOST_USER", "password": "EMAIL_HOST_PASSWORD"}
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", port
        for name, value in options.items():
            setattr(settings, names.get(name, f"EMAIL_{name.upper()}"), value)

    return use


@pytest.fixture
def use_backend(settings: Any) -> Callable[..., None]:
    """Make another backend class the project's only one."""

    def use(path: str, **options: Any) -> None:
        if HAS_MAILERS:
            settings.MAILERS = {"default": {"BACKEND": path, "OPTIONS": options}}
        else:
            settings.EMAIL_BACKEND = path
            for name, value in options.items():
                setattr(settings, f"EMAIL_{name.upper()}", value)

    return use


@pytest.fixture
def in_memory(settings: Any, use_backend: Callable[..., None]) -> list[Any]:
    """Django's locmem backend, and its outbox."""
    from django.core import mail

    use_backend(IN_MEMORY)
    outbox: list[Any] = []
    mail.outbox = outbox
    return outbox


@pytest.fixture
def send() -> Callable[..., list[Receipt]]:
    """Send messages with the options given by name, and return the receipts in the messages' order."""

    def send_messages(*messages: Message, **options: Any) -> list[Receipt]:
        messenger = EmailMessenger(
            "email", EmailMessenger.Options.from_mapping({"FROM": "cinema@example.org"} | options)
        )
        receipts = list(messenger.send_messages(messages))
        named = {id(receipt.message): receipt for receipt in receipts}
        assert len(named) == len(receipts), "a message was answered twice"
        return [named[id(message)] for message in messages if id(message) in named]

    return send_messages


@pytest.fixture
def message_to() -> Callable[..., Message]:
    """A message to a name at example.org (or to a whole address); everything else can be given."""

    def make(to: str = "ann", **parts: Any) -> Message:
        text = parts.pop("text", "It can be seen from now on.")
        given: dict[str, Any] = {"subject": "Solaris is out", "id": f"delivery-{to}"} | parts
        return Message(text, address=to if "@" in to else f"{to}@example.org", **given)

    return make


@pytest.fixture
def login_server() -> type[SMTPServer]:
    """Made with the password that it asks for, and used in a ``with`` statement."""
    return SMTPServer


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])
