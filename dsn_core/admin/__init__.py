"""The admin classes of all models. Importing their modules registers them."""

from dsn_core.admin import backends, deliveries, events, operations, subscriptions, triggers
from dsn_core.admin.addresses import UserAddressInline

__all__ = ["UserAddressInline", "backends", "deliveries", "events", "operations", "subscriptions", "triggers"]
