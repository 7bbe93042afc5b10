"""The Celery tasks. Each is a wake-up: what is to be done stands in the tables of dsn-core.

So it does no harm when one is lost, runs twice, or finds nothing; and a task that is interrupted
(``acks_late``, ``reject_on_worker_lost``) begins again elsewhere.
"""

from __future__ import annotations

import time
from typing import Any, Final

from celery import shared_task

from dsn_celery import names
from dsn_celery.publisher import publisher
from dsn_core import due_messengers, expand_due, send_due

#: Seconds that one task works before it makes room for others and queues up again. Far below the time after
#: which brokers take a task for lost: RabbitMQ's consumer_timeout, Redis's visibility_timeout.
SECONDS: Final = 20.0

_OPTIONS: Final[dict[str, Any]] = {
    "acks_late": True,
    "reject_on_worker_lost": True,
    "ignore_result": True,
    "serializer": "json",
}


def _fan_out(using: str | None = None) -> None:
    """Make the deliveries of the events that are due, and start the sending."""
    # Otherwise it came too late: the process that expanded the events has started the sending.
    if _expand(using):
        _start_sending(using)


def _send(messenger: str, using: str | None = None) -> None:
    """Send the deliveries of one messenger that are due."""
    end = time.monotonic() + SECONDS
    found_something = send_due(messenger, using, seconds=SECONDS) or time.monotonic() >= end
    if found_something and messenger in due_messengers(using):
        publisher.publish(send, messenger, using, route_name=names.route_of(messenger))


def _sweep(using: str | None = None) -> None:
    """Start what is due and has no other wake-up: retries, and what was recorded while the broker was away."""
    _expand(using)
    _start_sending(using)


def _expand(using: str | None) -> int:
    end = time.monotonic() + SECONDS
    done = expand_due(using, seconds=SECONDS)
    if time.monotonic() >= end:
        publisher.publish(fan_out, using)
    return done


def _start_sending(using: str | None) -> None:
    for messenger in due_messengers(using):
        publisher.publish(send, messenger, using, route_name=names.route_of(messenger))


fan_out: Any = shared_task(name=names.FAN_OUT, **_OPTIONS)(_fan_out)
send: Any = shared_task(name=names.SEND, **_OPTIONS)(_send)
sweep: Any = shared_task(name=names.SWEEP, **_OPTIONS)(_sweep)
