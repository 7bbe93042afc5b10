"""How long a row waits: after an attempt that failed, and while it is held.

What lacks a template or a setting is held until it is installed or mended, and no attempt counts. A deploy
brings code and rows to different machines at different moments, and a setting can be mended: neither is the fault of a
message.
"""

from __future__ import annotations

import datetime
import random
from typing import Final

#: Seconds before the second attempt; doubled with every further one, up to the longest.
FIRST_RETRY: Final = 30.0
LONGEST_RETRY: Final = 3_600.0
#: Seconds before the first look after something was held. It waits as long again as it has waited, up to the longest.
FIRST_WAIT: Final = 60.0
LONGEST_WAIT: Final = 3_600.0
#: Seconds after which it is not expected to be mended any more.
PATIENCE: Final = 86_400.0
#: The way out of a failure that can be mended, at the end of its message.
SEND_AGAIN: Final = "Then send the delivery again: in the admin, or by Delivery.objects.retry()."


def wait_of(since: datetime.datetime | None, now: datetime.datetime) -> float | None:
    """Seconds before the next look at what is held ``since`` then (None: from now on); None: it is given up."""
    waited = 0.0 if since is None else (now - since).total_seconds()
    return None if waited >= PATIENCE else min(max(waited, FIRST_WAIT), LONGEST_WAIT)


def backoff(attempts: int) -> float:
    """Seconds to wait after ``attempts`` attempts: doubling, with jitter so that not all come back at once."""
    longest = min(FIRST_RETRY * 2 ** max(attempts - 1, 0), LONGEST_RETRY)
    return random.uniform(longest / 2, longest)  # noqa: S311 - no secret
