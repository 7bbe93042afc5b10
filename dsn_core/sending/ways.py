"""The two ways of a messenger: the usual one, which is given messages, and the specification's ``send``."""

from __future__ import annotations

import time
from typing import ClassVar, Protocol

from django.db.models import QuerySet

from dsn_core.contracts.messengers import BaseMessenger
from dsn_core.models import Delivery
from dsn_core.models.delivery import Status
from dsn_core.models.subscription import Priority
from dsn_core.queue.claiming import Claim, claim
from dsn_core.sending import pacing
from dsn_core.sending.batch import Batch
from dsn_core.sending.connections import ProviderConnections
from dsn_core.sending.handing_over import deliver
from dsn_core.sending.legacy_send import LegacyWay
from dsn_core.sending.preparing import find_addresses, keep_to_listed, render

#: Seconds of sending after which it is looked whether another worker was told to pause. A quick messenger's batch takes
#: less than asking does.
LOOK_SECONDS = 0.05
#: Columns that nothing reads on the way to the receiver. A listener that does gets them, by a query.
UNREAD = ("created_at", "finished_at", "report", "report_reason", "reported_at")


class Way(Protocol):
    """What claiming and sending differ in."""

    #: Whether it is given messages that were rendered before, to addresses.
    takes_messages: ClassVar[bool]

    def claim(self, rows: QuerySet[Delivery], limit: int) -> Claim[Delivery] | None:
        """Claim what is due of ``rows``, which have one priority: at most ``limit``, where it is given messages."""

    def is_full(self, claimed: Claim[Delivery], limit: int) -> bool:
        """Whether more may be due after a claim of at most ``limit``."""

    def send(self, batch: Batch, connections: ProviderConnections) -> None:
        """Send ``batch``, whose rows have their events, backends and users, and passed the filters."""


def way_of(messenger: type[BaseMessenger]) -> type[UsualWay | LegacyWay]:
    """The one place where it is decided which way a messenger is used."""
    return LegacyWay if messenger.sends_itself() else UsualWay


def claim_first(way: Way, rows: QuerySet[Delivery], limit: int) -> Claim[Delivery] | None:
    """Claim of the first priority that has any: one query each, in the order of the index that they read."""
    claims = (way.claim(rows.filter(priority=priority), limit) for priority in Priority.values)
    return next((found for found in claims if found is not None), None)


class UsualWay:
    """Addresses are found, messages rendered and handed over, and receipts settled: batch by batch."""

    takes_messages: ClassVar[bool] = True

    def __init__(self, messenger: BaseMessenger) -> None:
        self._messenger = messenger

    def claim(self, rows: QuerySet[Delivery], limit: int) -> Claim[Delivery] | None:
        return claim(rows.defer(*UNREAD), limit=limit, status=Status.SENDING)

    def is_full(self, claimed: Claim[Delivery], limit: int) -> bool:
        return len(claimed.rows) == limit

    def send(self, batch: Batch, connections: ProviderConnections) -> None:
        messenger = self._messenger
        find_addresses(batch, messenger)
        keep_to_listed(batch, messenger)
        looked_at = time.monotonic()
        while batch.next_portion(messenger.batch_size):
            messages = render(batch)
            with connections.of(batch) as is_held:
                if is_held:
                    deliver(batch, messenger, messages)
            if batch.is_broken_off:
                return
            batch.settle()
            if time.monotonic() - looked_at < LOOK_SECONDS:
                continue
            looked_at = time.monotonic()
            if pacing.is_paused(messenger.alias, batch.using):
                # Another worker was told so: what is left would only hear the same.
                batch.is_broken_off = True
                return
