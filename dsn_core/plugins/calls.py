"""Calling the code of plugins and projects: what it leaves behind is put back, and it ends nothing but its own call."""

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

#: Who left what behind, of what was logged already.
_logged: set[tuple[str, str]] = set()


def reraise_interrupt(error: BaseException) -> None:
    """Raise ``error`` if it is meant for the process or the request, and not for the code that it came from.

    For handlers of ``BaseException``: SystemExit, CancelledError and the like end the call of the plugin that raised
    them, and no more.
    """
    if is_interrupt(error):
        raise error


@contextlib.contextmanager
def tidied(who: str) -> Iterator[ThreadState]:
    """Within this block the code of ``who`` runs; at its end the language, time zone and connections are as before."""
    before = ThreadState()
    try:
        yield before
    finally:
        put_back(before, who)


def put_back(before: ThreadState, who: str) -> None:
    """Restore ``before``, and log once what ``who`` left behind, e.g. "messenger 'email'"."""
    for what in before.restore():
        if (who, what) not in _logged:
            _logged.add((who, what))
            logger.error(
                "The %s left this behind: %s. It was put back; mend the plugin. This is logged once.", who, what
            )


def announce(signal: Signal, sender: Any, **given: Any) -> None:
    """Send one of our own signals; what its receivers raise, or leave behind, is no concern of the pipeline."""
    with tidied("receivers of a signal of dsn-core"):
        try:
            signal.send_robust(sender=sender, **given)
        except BaseException as error:
            reraise_interrupt(error)
            logger.error("A receiver of a signal of dsn-core raised %s.", told(error), exc_info=exc_info(error))
