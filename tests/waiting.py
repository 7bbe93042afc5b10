"""Waiting for what another thread or process does: until it holds, and never for a fixed time.

Patience is long, because a busy machine must fail no test, and costs nothing while all goes well.
"""

from __future__ import annotations

import time
from collections.abc import Callable

#: Seconds after which something counts as not happening.
PATIENCE = 120


def wait_for(what: Callable[[], object], says: Callable[[], object] = lambda: "", *, seconds: float = PATIENCE) -> None:
    """Return as soon as ``what()`` is true; fail after ``seconds``, with what ``says()`` returns."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, f"it did not happen in {seconds} s {says()}"
        time.sleep(0.02)
