"""A running ``dsn_worker`` fires signals too, and follows what others edit."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import transaction

from dsn_core.models import Delivery, Event, Trigger
from tests.processes.conftest import follow
from tests.processes.dsn_plugin import SavingMessenger
from tests.testapp.models import Movie, Place
from tests.waiting import PATIENCE, wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]


@pytest.fixture
def worker(environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """``dsn_worker``, watching."""
    process = subprocess.Popen(
        [sys.executable, "-m", "django", "dsn_worker"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Watching for work.")
        yield process
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=PATIENCE)
        assert (process.returncode, said) == (0, "")
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.fixture
def released(transactional_db: None, dsn: Any) -> Trigger:
    """A saved movie makes the worker save a place."""
    dsn.add(SavingMessenger)
    trigger = Trigger.objects.define("post_save", action_object=Movie)
    trigger.subscribe(addresses=[("saving", "x")], backends=[("saving", "simple")])
    return trigger


def test_it_follows_what_is_made_edited_and_deleted(released, worker, listen, count_events: Callable[..., int]):
    def release(number: int) -> None:
        Movie.objects.create(name="M")
        # Not only the place: its row is there before its signal is sent.
        wait_for(lambda: Delivery.objects.filter(status="sent").count() == number)

    release(1)
    placed = listen("post_save", action_object=Place)
    follow()
    release(2)
    assert count_events(placed) == 1
    Trigger.objects.filter(pk=placed.pk).update(enabled=False)
    follow()
    release(3)
    assert count_events(placed) == 1
    Trigger.objects.filter(pk=placed.pk).update(enabled=True)
    follow()
    release(4)
    assert count_events(placed) == 2
    placed.delete()
    follow()
    release(5)
    assert Event.objects.exclude(trigger_id=released.pk).count() == 2


def test_it_follows_while_it_is_never_idle(released, worker, listen, count_events: Callable[..., int]):
    with transaction.atomic():
        for number in range(400):
            Movie.objects.create(name=str(number))
    wait_for(Place.objects.exists)
    placed = listen("post_save", action_object=Place)
    # It saves all places in one go: a worker that followed when it is idle only would record none of them.
    wait_for(lambda: count_events(placed))
    assert Delivery.objects.exclude(status="sent").exists(), "it has more to do"
