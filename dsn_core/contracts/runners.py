"""What makes deliveries run."""

from __future__ import annotations

from django.core.checks import CheckMessage

from dsn_core.contracts.naming import Named
from dsn_core.contracts.overriding import not_overridden, require_override


class BaseRunner(Named):
    """Wakes the pipeline up after a commit that recorded events.

    The delivery table is the truth; a runner only brings the work forward. A wake-up that is lost
    costs time, never a message. Whatever it starts, in this process or another, calls
    :func:`~dsn_core.expand_due` and :func:`~dsn_core.send_due`.
    """

    def wake(self, using: str) -> None:
        """There is new work in the database ``using``. Called after the commit, in the caller's thread.

        Must be quick or bounded in time. What it raises is logged and goes no further.
        """
        raise not_overridden(self, "wake")

    @classmethod
    def check(cls) -> list[CheckMessage]:
        """Return what keeps this runner from working, for ``manage.py check``.

        Asked of the runner that ``DSN["RUNNER"]`` names, only. No network call belongs here.
        """
        return []

    @classmethod
    def check_contract(cls) -> None:
        super().check_contract()
        require_override(cls, BaseRunner, "wake")
