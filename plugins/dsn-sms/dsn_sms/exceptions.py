"""What providers raise, when they send and when they are called back."""

from __future__ import annotations


class NoConnection(Exception):
    """The provider cannot have got the message. Its text says why, without secrets."""


class NoAnswer(Exception):
    """The provider may have got the message. Its text says why nobody knows, without secrets."""


class BadSettings(Exception):
    """Nothing can be sent before somebody mends the settings. Its text says what is wrong, without secrets."""


class Forged(Exception):
    """A request to the callback view that the provider did not sign. Its text goes into the log."""


class Unreadable(Exception):
    """A request to the callback view that nothing can be made of."""
