"""HTML becomes text in time that grows with its length, however broken it is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from bench.rows import Size
from bench.table import Row, seconds
from dsn_core.contracts.html import html_to_text

#: What is repeated up to the length.
BROKEN: Final = {
    "open links": "<a href=x>y",
    "tags without an end": "<a ",
    "quotes without an end": "<a href=\"x>y<b c='d>",
    "end tags that close nothing": "<b></i>",
    "comments": "<!-- x --><!x>",
    "elements in one another": "<div><b><ul><li>x",
    "brackets": "<",
    "references": "&#9;&lt&",
    "wrongly nested": "<b><i>x</b>",
}
LENGTH: Final = 60_000
FACTOR: Final = 4
#: The time for four times the length, of four times the time. Quadratic would be 4.
BOUND: Final = 2.0


def measure(size: Size) -> Iterator[Row]:
    """The time for 60 kB (the control) and for 240 kB."""
    for name, broken in BROKEN.items():
        length = size.of(LENGTH, LENGTH // 4)
        short, long = (_fastest(broken * (count // len(broken))) for count in (length, FACTOR * length))
        ratio = long / short / FACTOR
        yield Row(name, seconds(short), seconds(long), f"{ratio:.2f}", bound=f"<{BOUND:.0f}", ok=ratio < BOUND)


def _fastest(source: str) -> float:
    """Of some runs the one that nothing else disturbed."""
    times = []
    for _ in range(5):
        began = time.perf_counter()
        html_to_text(source)
        times.append(time.perf_counter() - began)
    return min(times)
