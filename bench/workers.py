"""Workers in separate processes, as a project runs them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

from django.db.models import Max

from dsn_core import emit
from dsn_core.models import Delivery, Event


@contextlib.contextmanager
def workers(count: int, *options: str) -> Iterator[None]:
    """``count`` times ``dsn_worker`` with ``options``, which stand ready."""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "bench.settings", "PYTHONPATH": os.getcwd()}  # noqa: PTH109
    with tempfile.TemporaryDirectory() as folder:
        signs = [Path(folder, str(index)) for index in range(count)]
        command = [sys.executable, "-m", "django", "dsn_worker", *options, "--health-file"]
        started = [
            subprocess.Popen(
                [*command, str(sign)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            for sign in signs
        ]
        try:
            wait_until(lambda: all(sign.exists() for sign in signs))
            yield
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait(60)


def send_to_all(number: int) -> timedelta:
    """Let the event ``released`` go to ``number`` receivers; return how long that took the workers, from emit on."""
    emit("released", film="Alien")
    sent = Delivery.objects.filter(status=Delivery.Status.SENT)
    wait_until(lambda: sent.count() == number)
    begun = Event.objects.values_list("created_at", flat=True).get()
    return sent.aggregate(last=Max("finished_at"))["last"] - begun


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for at most ten minutes."""
    deadline = time.monotonic() + 600
    while not is_so():
        assert time.monotonic() < deadline, "The workers did not come to an end."
        time.sleep(1)
