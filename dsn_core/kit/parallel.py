"""Does one piece of work for many items at the same time, over a bounded number of connections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_parallel(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    connections: int,
    *,
    go_on: Callable[[], bool] = lambda: True,
) -> Iterator[tuple[Item, Future[Result]]]:
    """Call ``work`` for each of ``items`` in threads, at most ``connections`` at once; yield each item when it is done.

    ``future.result()`` returns what ``work`` returned, or raises what it raised. ``go_on()`` is asked before each item
    is begun. When it returns False, no further item is begun, and the iterator ends with those already begun: it is for
    ``stop()`` of a messenger, and for pauses. An iterator that is closed waits for them, too. What ``work`` does must
    be bounded in time. It has no connection to the database, unless it opens and closes one.
    """
    waiting = iter(items)
    done: SimpleQueue[tuple[Item, Future[Result]]] = SimpleQueue()
    under_way = 0
    is_open = True

    def begin(item: Item) -> None:
        pool.submit(work, item).add_done_callback(lambda future: done.put((item, future)))

    with ThreadPoolExecutor(max(connections, 1), thread_name_prefix="dsn-parallel") as pool:
        while True:
            while is_open and under_way < connections and go_on():
                try:
                    begin(next(waiting))
                except StopIteration:
                    is_open = False
                else:
                    under_way += 1
            if not under_way:
                return
            yield done.get()
            under_way -= 1
