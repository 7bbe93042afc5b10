"""The object of the ``dsn`` fixture; usable with any test runner."""

from __future__ import annotations

import itertools
from typing import Any

from dsn_core.contracts.messages import Message
from dsn_core.contracts.registrations import SignalRegistration
from dsn_core.hookspecs import hookimpl
from dsn_core.intake.record import outbox
from dsn_core.models import Delivery, Event
from dsn_core.models.clock import DatabaseNow
from dsn_core.plugins.discovery import Candidate
from dsn_core.plugins.kinds import KINDS
from dsn_core.plugins.loading import Plugin
from dsn_core.plugins.registry import registry
from dsn_core.runners import driver
from dsn_core.testing import MemoryMessenger

_numbers = itertools.count(1)


class Harness:
    """Registers classes during a test, runs the pipeline, and shows the sent messages.

    A context manager: on entering, the messenger ``memory`` is installed; on leaving, everything that was added is
    removed.
    """

    def __init__(self) -> None:
        self._plugins: list[Plugin] = []

    def __enter__(self) -> Harness:
        MemoryMessenger.reset()
        self.add(MemoryMessenger)
        return self

    def __exit__(self, *exc_info: object) -> None:
        while self._plugins:
            registry.remove(self._plugins.pop())
        MemoryMessenger.reset()

    def add(self, *items: Any) -> Plugin:
        """Register messengers, message templates, resolvers, filters, runners, codecs and signal registrations.

        Raises ``ValueError`` with the reason when one of them cannot be registered.
        """
        plugin = registry.add(_candidate(items))
        if plugin.faults:
            registry.remove(plugin)
            raise ValueError("; ".join(fault.message for fault in plugin.faults))
        self._plugins.append(plugin)
        return plugin

    def run(self, *, retries: bool = False) -> driver.Done:
        """Do all work that is due, as a worker does. With ``retries``, do retries at once instead of later."""
        if retries:
            for model in (Event, Delivery):
                rows = model._base_manager.using(outbox()).filter(not_before__isnull=False, lease_token__isnull=True)
                rows.update(not_before=DatabaseNow())
        return driver.drain(outbox())

    @property
    def sent(self) -> list[Message]:
        """The messages that the messenger ``memory`` has sent, oldest first."""
        return MemoryMessenger.outbox

    @property
    def deliveries(self) -> list[Delivery]:
        """All deliveries, oldest first, with their events and backends."""
        # No join, which would hide deliveries whose backend is deleted.
        return list(Delivery.objects.using(outbox()).order_by("id").prefetch_related("event", "backend"))


def _candidate(items: tuple[Any, ...]) -> Candidate:
    number = next(_numbers)
    plugin = type("TestPlugin", (), {kind.hook: _hook(kind.base, items) for kind in KINDS})
    return Candidate(name=f"test-{number}", source="app", module=f"test-{number}", load=plugin)


def _hook(base: type, items: tuple[Any, ...]) -> Any:
    chosen = [
        item
        for item in items
        if (isinstance(item, base) if base is SignalRegistration else isinstance(item, type) and issubclass(item, base))
    ]
    return hookimpl(lambda self: chosen)
