"""How the demo prints: numbered steps, in 80 columns."""

from __future__ import annotations

import itertools
import textwrap
from typing import Final

WIDTH: Final = 80
_numbers = itertools.count(1)


def step(title: str) -> None:
    print(f"\n{next(_numbers)}. {title}\n{'=' * WIDTH}", flush=True)


def say(text: str) -> None:
    print(textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="  "), flush=True)


def quote(text: str) -> None:
    """What a program or a page said, line by line."""
    for line in text.splitlines():
        if line.strip():
            print(textwrap.fill(line, WIDTH, initial_indent="  | ", subsequent_indent="  |   "), flush=True)


def row(widths: tuple[int, ...], *cells: str) -> None:
    """One row of a table; the last cell takes what is left of the line, and more lines if it must."""
    *fixed, last = cells
    head = "    " + "".join(cell.ljust(width) for cell, width in zip(fixed, widths, strict=True))
    first, *more = textwrap.wrap(last, WIDTH - len(head)) or [""]
    print((head + first).rstrip())
    for line in more:
        print(" " * len(head) + line)
