"""Calls of the code of plugins and projects, which restore the thread's state and let no error end the process."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from django.dispatch import Signal

from dsn_core._django import is_interrupt
from dsn_core._thread_state import ThreadState
from dsn_core.masking import exc_info
from dsn_core.plugins.errors import told

logger = logging.getLogger("dsn_core.plugins")

#: What was logged: the code's name, and what it left behind.
_logged: set[tuple[str, str]] = set()


def reraise_interrupt(error: BaseException) -> None:
    """Raise ``error`` again if it is meant for the process or the request.

    For handlers of ``BaseException``: other errors, such as a plugin's SystemExit or CancelledError, end only the call
    of that plugin.
    """
    if is_interrupt(error):
        raise error


@contextlib.contextmanager
def tidied(owner: str) -> Iterator[ThreadState]:
    """Restore the language, time zone and connections after this block, in which the code of ``owner`` runs."""
    before = ThreadState()
    try:
        yield before
    finally:
        put_back(before, owner)


def put_back(before: ThreadState, owner: str) -> None:
    """Restore ``before``, and log once what the code of ``owner``, e.g. "messenger 'email'", left behind."""
    for what in before.restore():
        if (owner, what) not in _logged:
            _logged.add((owner, what))
            logger.error(
                "The %s left this behind: %s. It was restored; fix the plugin. This is logged once.", owner, what
            )


def announce(signal: Signal, sender: Any, **given: Any) -> None:
    """Send one of our own signals. Errors of its receivers are logged, and the thread's state is restored."""
    with tidied("receivers of a signal of dsn-core"):
        try:
            signal.send_robust(sender=sender, **given)
        except BaseException as error:
            reraise_interrupt(error)
            logger.error("A receiver of a signal of dsn-core raised %s.", told(error), exc_info=exc_info(error))
