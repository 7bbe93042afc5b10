"""For the tests of projects and of plugins.

:class:`MemoryMessenger` keeps what was sent; :class:`MessengerContract` is what every messenger
must pass; the pytest fixture ``dsn`` (:mod:`dsn_core.testing.pytest_plugin`) fires, runs and shows.
"""

from dsn_core.testing.messengers import MemoryMessenger

__all__ = ["MemoryMessenger", "MessengerContract"]


def __getattr__(name: str) -> object:
    # Needs pytest, which those who only use the messenger may not have.
    if name == "MessengerContract":
        from dsn_core.testing.contract import MessengerContract

        return MessengerContract
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
