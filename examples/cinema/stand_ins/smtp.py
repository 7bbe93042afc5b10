"""A mail server on this machine that keeps what it gets, and delivers nothing."""

from __future__ import annotations

import asyncio
import email
import email.policy
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from email.message import EmailMessage

from aiosmtpd.smtp import SMTP, Envelope, Session

#: Seconds it may take to start and to stop, and that a client may be silent.
PATIENCE = 10
MAX_BYTES = 1_000_000


@dataclass(frozen=True)
class Mail:
    """An e-mail as the server got it: for whom the client said it is, and the e-mail itself."""

    receivers: tuple[str, ...]
    message: EmailMessage

    @property
    def subject(self) -> str:
        return str(self.message["Subject"])

    @property
    def to(self) -> str:
        return str(self.message["To"])

    def part(self, kind: str) -> str:
        """Its ``"plain"`` or ``"html"`` text; empty when it has none."""
        found = self.message.get_body((kind,))
        return str(found.get_content()) if found is not None else ""

    def first_lines(self, number: int) -> list[str]:
        """The first lines of its text that are not empty."""
        return [line for line in self.part("plain").splitlines() if line.strip()][:number]


class LocalSMTP:
    """The server, in a thread of its own, from ``with`` to the end of its block.

    ``port`` is free, and known inside of the block. ``mails`` is what was received, in order, and
    ``on_mail`` is called with each. Addresses in ``refuse`` are refused as a provider refuses
    those that do not exist.
    """

    def __init__(self, refuse: Collection[str] = (), on_mail: Callable[[Mail], None] | None = None) -> None:
        self.refuse = frozenset(refuse)
        self.on_mail = on_mail
        self.mails: list[Mail] = []
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="local-smtp", daemon=True)

    def __enter__(self) -> LocalSMTP:
        self._thread.start()
        if not self._ready.wait(PATIENCE):
            raise RuntimeError("The local mail server did not start; may programs open a port on 127.0.0.1 here?")
        return self

    def __exit__(self, *exception: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await self._loop.create_server(self._protocol, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        # Connections that are still open are cancelled with the loop.
        server.close()

    def _protocol(self) -> SMTP:
        return SMTP(self, hostname="localhost", loop=self._loop, timeout=PATIENCE, data_size_limit=MAX_BYTES)

    async def handle_RCPT(  # noqa: N802 (aiosmtpd's name)
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refuse:
            return f"550 5.1.1 <{address}>: there is no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 (aiosmtpd's name)
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        content = envelope.content if isinstance(envelope.content, bytes) else (envelope.content or "").encode()
        message = email.message_from_bytes(content, _class=EmailMessage, policy=email.policy.default)
        mail = Mail(tuple(envelope.rcpt_tos), message)
        self.mails.append(mail)
        if self.on_mail is not None:
            self.on_mail(mail)
        return "250 OK"
