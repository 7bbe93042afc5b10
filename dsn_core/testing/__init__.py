"""Helpers for the tests of projects and plugins.

:class:`MemoryMessenger` keeps sent messages in memory; :class:`MessengerContract` holds the tests that every messenger
must pass; the pytest fixture ``dsn`` (:mod:`dsn_core.testing.pytest_plugin`) registers classes and runs the pipeline.
"""

from dsn_core.testing.messengers import MemoryMessenger

__all__ = ["MemoryMessenger", "MessengerContract"]


def __getattr__(name: str) -> object:
    # Needs pytest, which the messenger alone does not.
    if name == "MessengerContract":
        from dsn_core.testing.contract import MessengerContract

        return MessengerContract
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
