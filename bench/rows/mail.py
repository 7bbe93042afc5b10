"""E-mail to servers of this machine, against Django's own backend with one connection."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import django
from django.conf import settings
from django.contrib.auth.models import User
from django.core import mail
from django.core.mail import EmailMultiAlternatives

from bench.data import crowd, lanes
from bench.dsn_plugin import Greeting
from bench.measure import steady
from bench.rows import Size
from bench.rows.fanout import _greeting, empty
from bench.table import Row, rates
from dsn_core import emit
from dsn_core.fanout.expander import expand_due
from dsn_core.models import Delivery, Event, Trigger
from dsn_core.runners import driver
from dsn_core.runners.worker import Worker

SENDER = "cinema@example.org"

#: Seconds that the slow server takes for a message, and the connections that a worker has to it.
SLOW, LANES = 0.02, 8
#: The server, in a process of its own, so that it takes no time of the one that is measured. Prints its port. It knows
#: no more of SMTP than it needs, so that it is quicker than any client.
SERVER = """
import socket
import sys
import threading
import time
DELAY = float(sys.argv[1])
def serve(connection):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(b"220 sink\\r\\n")
    waiting, end = b"", b"\\r\\n"
    while received := connection.recv(65536):
        waiting += received
        if not waiting.endswith(end):
            continue
        command, waiting = waiting[:4].upper(), b""
        if end != b"\\r\\n":
            end, answer = b"\\r\\n", b"250 OK\\r\\n"
            if DELAY:
                time.sleep(DELAY)
        elif command == b"DATA":
            end, answer = b"\\r\\n.\\r\\n", b"354 Go on\\r\\n"
        else:
            answer = b"250 OK\\r\\n"
        connection.sendall(answer)
        if command == b"QUIT":
            break
    connection.close()
with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
    print(listener.getsockname()[1], flush=True)
    while True:
        threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()
"""


def measure(size: Size) -> Iterator[Row]:
    # Some batches of 100 for each lane.
    number = size.of(2_000, 800)
    group = crowd(number)
    Trigger.objects.define("released").subscribe(groups=[group], backends=[("email", "greeting")])
    with _server(0), steady():
        pairs = [(_django(number), _ours(number)) for _ in range(size.of(5, 2))]
    # Since Django 6.0 it makes each message at a greater cost.
    yield _row(f"{number:,} e-mails, statuses kept", pairs, 1.3 if django.VERSION >= (6, 0) else 0.95)
    with _server(SLOW), lanes("email", LANES), steady():
        # The control takes as long for each message, however many there are.
        pairs = [(_django(200), _by_worker(number)) for _ in range(size.of(3, 1))]
    yield _row(f"... 20 ms each, CONNECTIONS {LANES}", pairs, 4.0)


def _row(name: str, pairs: Sequence[tuple[float, float]], bound: float) -> Row:
    ratios = [ours / control for control, ours in pairs]
    rate, spread = statistics.median(control for control, _ in pairs), (max(ratios) - min(ratios)) / 2
    return rates(name, rate, rate * statistics.median(ratios), bound, spread)


@contextlib.contextmanager
def _server(delay: float) -> Iterator[None]:
    """Django sends to a server that takes ``delay`` seconds for each message."""
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(delay)], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        _use(int(server.stdout.readline()))
        yield
    finally:
        server.terminate()
        server.wait(10)


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
    return _rate(number, lambda: driver.drain("default"))


def _by_worker(number: int) -> float:
    """The same by a worker, with its lanes."""
    return _rate(number, Worker("default").drain)


def _rate(number: int, drain: Callable[[], driver.Done]) -> float:
    emit("released", film="Alien")
    expand_due("default")
    started = time.perf_counter()
    assert drain().deliveries == number
    rate = number / (time.perf_counter() - started)
    assert Delivery.objects.filter(status=Delivery.Status.SENT).count() == number
    empty(Delivery, Event)
    return rate
