"""The two ways of a messenger: the usual one, which is given messages, and the specification's ``send``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar, TypeAlias

from dsn_core.contracts.messengers import BaseMessenger
from dsn_core.models import Delivery
from dsn_core.models.delivery import Status
from dsn_core.queue.claiming import Claim, claim
from dsn_core.queue.pages import claim_page
from dsn_core.queue.schedule import Due
from dsn_core.sending import pacing
from dsn_core.sending.batch import Batch
from dsn_core.sending.handing_over import ProviderConnections, deliver
from dsn_core.sending.legacy_send import LegacyWay
from dsn_core.sending.preparing import find_addresses, keep_to_listed, render

#: Seconds of sending after which it is looked whether another worker was told to pause. A quick messenger's batch takes
#: less than asking does.
LOOK_SECONDS = 0.05
#: Columns that nothing reads on the way to the receiver. A listener that does gets them, by a query.
UNREAD = ("created_at", "finished_at", "report", "report_reason", "reported_at")


class UsualWay:
    """Addresses are found, messages rendered and handed over, and receipts settled: batch by batch."""

    #: Whether it is given messages that were rendered before, to addresses.
    takes_messages: ClassVar[bool] = True

    @staticmethod
    def claim(messenger: BaseMessenger, using: str, limit: int, due: Sequence[Due]) -> Claim[Delivery] | None:
        """Claim at most ``limit`` of the first of what is ``due`` that no other worker claims first."""
        rows = Delivery.objects.using(using).filter(messenger=messenger.alias).defer(*UNREAD)
        for priority, is_page in due:
            if is_page and (page := claim_page(messenger.alias, priority, limit, using, unread=UNREAD)) is not None:
                return page
            # Those of a page that was broken up, too.
            if (found := claim(rows.filter(priority=priority), limit=limit, status=Status.SENDING)) is not None:
                return found
        return None

    @staticmethod
    def send(messenger: BaseMessenger, batch: Batch, in_hand: ProviderConnections) -> None:
        """Send ``batch``, whose rows have their events, backends and users, and passed the filters."""
        find_addresses(batch, messenger)
        keep_to_listed(batch, messenger)
        looked_at = time.monotonic()
        while batch.next_portion(messenger.batch_size):
            messages = render(batch)
            if in_hand.take(batch):
                try:
                    deliver(batch, messenger, messages)
                finally:
                    in_hand.free(batch)
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


Way: TypeAlias = UsualWay | LegacyWay


def way_of(messenger: type[BaseMessenger]) -> type[Way]:
    """The one place where it is decided which way a messenger is used."""
    return LegacyWay if messenger.sends_itself else UsualWay
