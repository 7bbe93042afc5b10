"""Sends several messages at the same time, and answers for each as soon as it is known."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Final

from dsn_core import Outcome, Receipt
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
    answered: SimpleQueue[tuple[SMS, Future[Receipt]]] = SimpleQueue()
    under_way = lost_in_a_row = 0
    reason = ""
    with ThreadPoolExecutor(min(connections, max(len(waiting), 1)), thread_name_prefix="dsn-sms") as pool:
        while True:
            while waiting and under_way < connections and lost_in_a_row < MAX_LOST_CONNECTIONS:
                sms = waiting.popleft()
                pool.submit(send, sms).add_done_callback(functools.partial(_put, answered, sms))
                under_way += 1
            if not under_way:
                break
            sms, future = answered.get()
            under_way -= 1
            try:
                receipt = future.result()
            except NoConnection as error:
                lost_in_a_row += 1
                reason = str(error)
                receipt = Receipt.retry(reason=reason)
            else:
                lost_in_a_row = 0
            yield _about(sms, receipt)
            if receipt.outcome is Outcome.PAUSE or is_stopping():
                waiting.clear()
    for sms in waiting:
        yield _about(sms, Receipt.later(REST, f"Not tried, since the provider cannot be reached. {reason}"))


def _put(answered: SimpleQueue[tuple[SMS, Future[Receipt]]], sms: SMS, future: Future[Receipt]) -> None:
    answered.put((sms, future))


def _about(sms: SMS, receipt: Receipt) -> Receipt:
    return Receipt(receipt.outcome, receipt.reason, receipt.after, receipt.provider_id, sms.message)
