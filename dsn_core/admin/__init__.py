"""The admin classes of all models."""

from dsn_core.admin.addresses import AddressAdmin, UserAddressInline
from dsn_core.admin.backends import BackendAdmin
from dsn_core.admin.deliveries import DeliveryAdmin
from dsn_core.admin.events import EventAdmin
from dsn_core.admin.operations import (
    ConfigurationChangeAdmin,
    EnvironmentAdmin,
    MessengerStateAdmin,
    WorkerHeartbeatAdmin,
)
from dsn_core.admin.subscriptions import SubscriptionAdmin
from dsn_core.admin.triggers import TriggerAdmin

__all__ = [
    "AddressAdmin",
    "BackendAdmin",
    "ConfigurationChangeAdmin",
    "DeliveryAdmin",
    "EnvironmentAdmin",
    "EventAdmin",
    "MessengerStateAdmin",
    "SubscriptionAdmin",
    "TriggerAdmin",
    "UserAddressInline",
    "WorkerHeartbeatAdmin",
]
