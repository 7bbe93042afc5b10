"""The loop that every runner runs: in the calling thread here, in a worker's threads in :mod:`worker_threads`."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Collection, Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from django.db import close_old_connections, connections

from dsn_core.fanout.expander import Expander
from dsn_core.intake.record import outbox
from dsn_core.models import MessengerState
from dsn_core.plugins.calls import reraise_interrupt
from dsn_core.plugins.errors import describe
from dsn_core.queue import schedule
from dsn_core.runners import heartbeat
from dsn_core.sending.sender import Sender
from dsn_core.triggers.dispatch import trigger_cache

logger = logging.getLogger("dsn_core.run")

_draining: ContextVar[bool] = ContextVar("dsn_draining", default=False)


def is_draining() -> bool:
    """Whether a loop of ours is at work below: it finds by itself what is recorded meanwhile."""
    return _draining.get()


@contextlib.contextmanager
def draining() -> Iterator[None]:
    """Within this block the loop around it finds what is recorded: no runner has to be woken."""
    token = _draining.set(True)
    try:
        yield
    finally:
        _draining.reset(token)


def look_after_connections(trouble: int = 0) -> None:
    """Close this thread's connections that broke. A healthy one stays open, however short a request's may live.

    After two failures in a row (``trouble``) all are closed: one that answers, but refuses to write, may lead to a
    server that is a replica by now.
    """
    if trouble >= 2:
        connections.close_all()
    for connection in connections.all(initialized_only=True):
        connection.close_at = None
    close_old_connections()


@dataclass
class Done:
    """How many events were expanded, and how many deliveries were worked on."""

    events: int = 0
    deliveries: int = 0

    def __bool__(self) -> bool:
        return bool(self.events or self.deliveries)


def known_messengers(using: str, chosen: Collection[str] | None = None) -> list[str]:
    """Those of the messengers (of ``chosen``, or all) that deliveries were ever made for."""
    known = MessengerState.objects.using(using).order_by("messenger").values_list("messenger", flat=True)
    return [alias for alias in known if chosen is None or alias in chosen]


def drain(
    using: str,
    messengers: Collection[str] | None = None,
    *,
    expands: bool = True,
    seconds: float | None = None,
    stop: Callable[[], bool] | None = None,
) -> Done:
    """Expand and send in the calling thread until nothing is due, ``seconds`` have passed or ``stop()`` says so.

    Sends by ``messengers``, or by all that are known at each step. The trouble of one messenger is its own, except
    where nothing is expanded: then it is raised. Waits for rates, not for pauses.
    """
    end = math.inf if seconds is None else time.monotonic() + seconds

    def is_over() -> bool:
        return time.monotonic() >= end or (stop is not None and stop())

    if messengers is None and not is_over():
        schedule.make_missing_known(using)
    done = Done()
    expander = Expander(using, is_over)
    senders: dict[str, Sender] = {}
    with draining():
        while not is_over():
            # Plugins fire signals while they send: what triggers say may have changed since the last step.
            trigger_cache.refresh(patient=True)
            found = expander.work().done if expands else 0
            done.events += found
            rests: list[float] = []
            for alias in known_messengers(using) if messengers is None else messengers:
                if is_over():
                    break
                if alias not in senders:
                    senders[alias] = Sender(alias, using, is_over)
                try:
                    work = senders[alias].work()
                except BaseException as error:
                    reraise_interrupt(error)
                    if not expands:
                        raise
                    # The batch stays claimed, and is due again when its lease ends.
                    logger.exception("A batch of the messenger %s was given up: %s", alias, describe(error))
                    continue
                done.deliveries += work.done
                found += work.done
                if work.rest is not None:
                    rests.append(work.rest)
            if found:
                continue
            go_on_at = time.monotonic() + min(rests, default=math.inf)
            if go_on_at >= end:
                break
            while not is_over() and (left := go_on_at - time.monotonic()) > 0:
                # In short steps, so that it is soon seen that it is over.
                time.sleep(min(left, 0.1))
    return done


# The steps that runners of plugins take. See the functions of ``dsn_core`` of the same names.


def expand_due(using: str | None = None, *, seconds: float | None = None) -> int:
    """See :func:`dsn_core.expand_due`."""
    heartbeat.beat(alias := using or outbox())
    return drain(alias, (), seconds=seconds).events


def send_due(messenger: str, using: str | None = None, *, seconds: float | None = None) -> int:
    """See :func:`dsn_core.send_due`."""
    heartbeat.beat(alias := using or outbox())
    return drain(alias, (messenger,), expands=False, seconds=seconds).deliveries


def due_messengers(using: str | None = None) -> list[str]:
    """See :func:`dsn_core.due_messengers`."""
    return schedule.due_messengers(using or outbox())
