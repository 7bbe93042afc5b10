"""What the tests of triggers share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.signals import request_finished
from django.db import close_old_connections
from django.dispatch import Signal

from dsn_core import register_signal
from dsn_core.models import Event, Trigger
from dsn_core.plugins.catalogue import catalogue


@pytest.fixture(autouse=True)
def _end_of_requests() -> Iterator[None]:
    """A request that a test began is over with the test: what the next one records must not wait for its end."""
    yield
    request_finished.disconnect(close_old_connections)
    request_finished.send(sender=None)
    request_finished.connect(close_old_connections)


@pytest.fixture
def listen() -> Callable[..., Trigger]:
    """Define a trigger with a subscription, so that it is listened to."""

    def define(verb: str, **parts: Any) -> Trigger:
        trigger = Trigger.objects.define(verb, **parts)
        trigger.subscribe()
        return trigger

    return define


@pytest.fixture
def count() -> Callable[[Trigger], int]:
    """The number of events that a trigger recorded."""
    return lambda trigger: Event.objects.filter(trigger_id=trigger.pk).count()


@pytest.fixture
def released() -> Iterator[Signal]:
    """A project's own signal, known as the verb ``released``."""
    signal = Signal()
    register_signal("released", signal, actor_object="who", target="where")
    yield signal
    catalogue.remove("released")
