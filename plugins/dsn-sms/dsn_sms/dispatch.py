"""Sends several messages at the same time, and answers for each as soon as it is known."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from dsn_core import Outcome, Receipt
from dsn_core.kit import in_parallel
from dsn_sms.exceptions import NoConnection
from dsn_sms.outgoing import SMS

#: Connections that fail in a row before the rest of the batch waits.
MAX_LOST_CONNECTIONS: Final = 3
#: Seconds for which it does.
REST: Final = 15.0


def dispatch(
    send: Callable[[SMS], Receipt], items: Sequence[SMS], connections: int, is_stopping: Callable[[], bool]
) -> Iterator[Receipt]:
    """Call ``send`` for each of ``items``, at most ``connections`` at the same time, and yield the receipts.

    Receipts come in any order and name their messages. After a pause, and when ``is_stopping()``, nothing more is
    begun, and what is under way is answered for: it cannot be taken back. After :data:`MAX_LOST_CONNECTIONS` in a row
    the rest comes later, without having been tried. ``send`` may raise :class:`NoConnection`, and nothing else.
    """
    waiting = deque(items)
    is_paused, lost_in_a_row, reason = False, 0, ""

    def go_on() -> bool:
        return not (is_paused or is_stopping()) and lost_in_a_row < MAX_LOST_CONNECTIONS

    for sms, future in in_parallel(send, _taken_from(waiting), connections, go_on=go_on):
        try:
            receipt = future.result()
        except NoConnection as error:
            lost_in_a_row += 1
            reason = str(error)
            receipt = Receipt.retry(reason=reason)
        else:
            lost_in_a_row = 0
            is_paused = is_paused or receipt.outcome is Outcome.PAUSE
        yield dataclasses.replace(receipt, message=sms.message)
    if not (is_paused or is_stopping()):
        for sms in waiting:
            said = f"Not tried, since the provider cannot be reached. {reason}"
            yield Receipt.later(REST, reason=said, message=sms.message)


def _taken_from(waiting: deque[SMS]) -> Iterator[SMS]:
    while waiting:
        yield waiting.popleft()
