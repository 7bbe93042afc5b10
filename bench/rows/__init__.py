"""The rows of the table, by name. Each yields what it found, row by row."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.table import Row


@dataclass(frozen=True)
class Size:
    """How much is measured: all of it, or with ``quick`` so much that it runs in a minute."""

    quick: bool

    def of(self, full: int, quick: int) -> int:
        return quick if self.quick else full


#: What is measured, in the order of the table: the name of its module here, and in a line what it is.
ROWS = {
    "untouched": "save() of a model that no trigger names",
    "unmatched": "save() with 1,000 triggers on that model, none matching",
    "matched": "a matched save(), in the caller's transaction",
    "editing": "create and edit a trigger when 1,000 exist",
    "edits_elsewhere": "following an edit in another process, 20,000 triggers",
    "startup": "start-up with 1,000 triggers",
    "fanout": "a durable fan-out, a template rendered per receiver, a messenger that does nothing",
    "finished": "one send, with many finished deliveries in the table",
    "purge": "a purge of what is old, and a worker beside it",
    "latency": "from the commit of an event to its hand-over, an idle worker",
    "memory": "the memory of a large fan-out",
    "mail": "e-mail over local SMTP, against Django's one connection",
    "html": "broken HTML as text, 60 kB and four times that",
    "workers": "one worker and four, a messenger that takes 20 ms a batch",
}


def load(name: str) -> Callable[[Size], Iterator[Row]]:
    """The function that measures the row called ``name``."""
    found: Callable[[Size], Iterator[Row]] = importlib.import_module(f"bench.rows.{name}").measure
    return found
