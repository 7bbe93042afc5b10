"""Runners: plugin classes that start the pipeline."""

from __future__ import annotations

from django.core.checks import CheckMessage

from dsn_core.contracts.naming import Named, not_overridden


class BaseRunner(Named):
    """Wakes the pipeline up after a commit that recorded events.

    The state is in the database; a runner only starts the work earlier. A lost wake-up costs time, never a message.
    The code that a runner starts, in this process or another, calls :func:`~dsn_core.expand_due` and
    :func:`~dsn_core.send_due`.
    """

    _must_override = ("wake",)

    def wake(self, using: str) -> None:
        """Start the work in the database ``using``. Called after the commit, in the caller's thread.

        Must be quick or bounded in time. Exceptions are logged and go no further.
        """
        raise not_overridden(self, "wake")

    @classmethod
    def check(cls) -> list[CheckMessage]:
        """Return what keeps this runner from working, for ``manage.py check``.

        Called only for the runner that ``DSN["RUNNER"]`` names. Make no network call here.
        """
        return []
