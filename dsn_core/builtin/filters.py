"""The built-in receiver filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dsn_core.contracts.receivers import BaseReceiverFilter, DeliveryView


class InactiveUsersFilter(BaseReceiverFilter):
    """Excludes users whose account is not active."""

    name = "inactive_users"

    def exclude(self, deliveries: Sequence[DeliveryView]) -> Mapping[Any, str]:
        return {
            delivery.pk: "The user's account is not active."
            for delivery in deliveries
            if delivery.user is not None and not getattr(delivery.user, "is_active", True)
        }
