"""What providers raise, when they send and when they are called back."""

from __future__ import annotations

from dsn_core.exceptions import BadSettings, NoAnswer, NoConnection

__all__ = ["BadSettings", "Forged", "NoAnswer", "NoConnection", "Unreadable"]


class Forged(Exception):
    """A request to the callback view that the provider did not sign. Its text goes into the log."""


class Unreadable(Exception):
    """A request to the callback view that nothing can be made of."""
