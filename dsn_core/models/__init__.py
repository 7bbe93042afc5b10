"""The models: the configuration (trigger, backend, subscription) and what happened (event, delivery)."""

from dsn_core.models.address import Address
from dsn_core.models.backend import Backend
from dsn_core.models.changes import ConfigurationChange
from dsn_core.models.delivery import Delivery
from dsn_core.models.delivery_page import DeliveryPage
from dsn_core.models.event import Event
from dsn_core.models.profile import Profile
from dsn_core.models.shared import Environment, MessengerState, WorkerHeartbeat
from dsn_core.models.subscription import Subscription, SubscriptionAddress
from dsn_core.models.trigger import Trigger

__all__ = [
    "Address",
    "Backend",
    "ConfigurationChange",
    "Delivery",
    "DeliveryPage",
    "Environment",
    "Event",
    "MessengerState",
    "Profile",
    "Subscription",
    "SubscriptionAddress",
    "Trigger",
    "WorkerHeartbeat",
]
