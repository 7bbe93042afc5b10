"""E-mail to a server of this machine, against Django's own backend with one connection."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import django
from django.conf import settings
from django.contrib.auth.models import User
from django.core import mail
from django.core.mail import EmailMultiAlternatives

from bench.data import crowd
from bench.dsn_plugin import Greeting
from bench.measure import steady
from bench.rows import Size
from bench.rows.fanout import _greeting, empty
from bench.table import Row, rates
from dsn_core import emit
from dsn_core.models import Delivery, Event, Trigger
from dsn_core.pipeline import run
from dsn_core.pipeline.fanout import expand_due

SENDER = "cinema@example.org"

#: The server, in a process of its own, so that it takes no time of the one that is measured. Prints its port.
SERVER = """
import asyncio
from aiosmtpd.smtp import SMTP
class Sink:
    async def handle_DATA(self, server, session, envelope):
        return "250 OK"
async def serve():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Sink(), hostname="localhost", loop=loop), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.sleep(1800)
asyncio.run(serve())
"""


def measure(size: Size) -> Iterator[Row]:
    number = size.of(2_000, 300)
    group = crowd(number)
    Trigger.objects.define("released").subscribe(groups=[group], backends=[("email", "greeting")])
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        _use(int(server.stdout.readline()))
        control, ours = [], []
        with steady():
            for _ in range(size.of(5, 2)):
                control.append(_django(number))
                ours.append(_ours(number))
    finally:
        server.terminate()
        server.wait(10)
    ratios = [there / here for there, here in zip(ours, control, strict=True)]
    rate, spread = statistics.median(control), (max(ratios) - min(ratios)) / 2
    yield rates(f"{number:,} e-mails, statuses kept", rate, rate * statistics.median(ratios), 0.9, spread)


def _use(port: int) -> None:
    """Have Django send to the server at ``port``."""
    settings.DEFAULT_FROM_EMAIL = SENDER
    if django.VERSION >= (6, 1):
        options = {"host": "127.0.0.1", "port": port, "timeout": 30}
        settings.MAILERS = {"default": {"BACKEND": "django.core.mail.backends.smtp.EmailBackend", "OPTIONS": options}}
    else:
        settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_TIMEOUT = "127.0.0.1", port, 30


def _django(number: int) -> float:
    """One connection of Django's for all, one message each, rendered as ours are; nothing is kept."""
    users = list(User.objects.order_by("pk")[:number])
    started = time.perf_counter()
    mailer = mail.mailers["default"] if hasattr(mail, "mailers") else mail.get_connection()
    mailer.open()
    for user in users:
        text = _greeting.render(user=user, film="Alien")
        message = EmailMultiAlternatives(Greeting.subject, text, SENDER, [user.email])
        assert mailer.send_messages([message]) == 1
    mailer.close()
    return number / (time.perf_counter() - started)


def _ours(number: int) -> float:
    emit("released", film="Alien")
    expand_due("default")
    started = time.perf_counter()
    assert run.drain("default").deliveries == number
    rate = number / (time.perf_counter() - started)
    assert Delivery.objects.filter(status=Delivery.Status.SENT).count() == number
    empty(Delivery, Event)
    return rate
