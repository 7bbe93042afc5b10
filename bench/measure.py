"""Measurement on a machine with other load.

Two pieces of work alternate, a few milliseconds each, in an order that favours neither; each pair gives a ratio, and
the median of the ratios is the figure. Whatever else the machine does hits both alike, or few of the pairs.
"""

from __future__ import annotations

import contextlib
import gc
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from django.db import connection

#: Seconds that a piece of work should take: long beside the clock's grain, short beside the machine's moods.
PIECE = 0.005
#: Calls before the clock starts: caches are as warm for the one as for the other.
WARM = 3


@dataclass(frozen=True)
class Work:
    """Something to measure: ``call`` is timed, within the surroundings that ``around`` makes."""

    call: Callable[[], object]
    around: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext


@dataclass(frozen=True)
class Ratio:
    """How ``ours`` compares with ``control`` (seconds a call, medians).

    ``ratio`` is the median of the pairs' ratios, ``spread`` half the distance of their quartiles, and ``cpu`` the same
    as ``ratio`` by the processor's time that this process took.
    """

    control: float
    ours: float
    ratio: float
    spread: float
    cpu: float

    @property
    def judged(self) -> float:
        """The figure that counts: on SQLite all the work is this process's own, which its processor time says best."""
        return self.cpu if connection.vendor == "sqlite" else self.ratio


@contextlib.contextmanager
def steady() -> Iterator[None]:
    """No collection of garbage while the clock runs, neither for the one nor for the other."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def compare(control: Work, ours: Work, *, pairs: int, calls: int | None = None) -> Ratio:
    """Let the two alternate ``pairs`` times, each time with so many ``calls`` as take about :data:`PIECE` seconds."""
    if calls is None:
        calls = max(int(PIECE / _timed(control, 20)[0]), 1)
    times: list[tuple[float, float]] = []
    processor: list[tuple[float, float]] = []
    with steady():
        for number in range(pairs):
            if number % 2:
                (second, second_cpu), (first, first_cpu) = _timed(ours, calls), _timed(control, calls)
            else:
                (first, first_cpu), (second, second_cpu) = _timed(control, calls), _timed(ours, calls)
            times.append((first, second))
            processor.append((first_cpu, second_cpu))
            gc.enable()
            gc.collect(0)
            gc.disable()
    ratios = [second / first for first, second in times]
    lower, _, upper = statistics.quantiles(ratios, n=4)
    return Ratio(
        control=statistics.median(first for first, _ in times),
        ours=statistics.median(second for _, second in times),
        ratio=statistics.median(ratios),
        spread=(upper - lower) / 2,
        cpu=statistics.median(second / first for first, second in processor),
    )


def _timed(work: Work, calls: int) -> tuple[float, float]:
    """Seconds that a call takes: by the clock, and of the processor."""
    call = work.call
    with work.around():
        for _ in range(WARM):
            call()
        started, started_cpu = time.perf_counter(), time.process_time()
        for _ in range(calls):
            call()
        return (time.perf_counter() - started) / calls, (time.process_time() - started_cpu) / calls


class Queries:
    """Counts the statements of a connection: ``with Queries() as queries: ...; queries.number``."""

    def __init__(self) -> None:
        self.statements: list[str] = []

    @property
    def number(self) -> int:
        return len(self.statements)

    def __enter__(self) -> Queries:
        self._wrapped = connection.execute_wrapper(self._count)
        self._wrapped.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._wrapped.__exit__(*exc_info)  # type: ignore[arg-type]

    def _count(self, execute, sql, params, many, context):  # type: ignore[no-untyped-def]
        self.statements.append(sql)
        return execute(sql, params, many, context)
