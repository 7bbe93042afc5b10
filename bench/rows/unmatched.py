"""Triggers that do not match cost a look into a dictionary, however many they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bench.data import about, bare_and_undone, listen, undone
from bench.measure import Queries, Work, compare
from bench.models import ByCondition, ByKey, ByTarget, Few, Film, Many, Most
from bench.rows import Size
from bench.table import Row, at_most, counts
from dsn_core.models import Event

ALL = ("key", "target", "condition")


def saving(model: type[Film]) -> Callable[[], None]:
    def save() -> None:
        model(name="a").save()

    return save


def measure(size: Size) -> Iterator[Row]:
    """The same save of models of one shape, with more and more triggers on them."""
    most = size.of(10_000, 2_000)
    loads = (
        (ByKey, 1_000, ("key",), "1,000 triggers, by key"),
        (ByTarget, 1_000, ("target",), "1,000 triggers, by target"),
        (ByCondition, 1_000, ("condition",), "1,000 triggers, by condition"),
        (Few, 10, ALL, "10 triggers, all three kinds"),
        (Many, 1_000, ALL, "1,000 triggers, all three"),
        (Most, most, ALL, f"{most:,} triggers, all three"),
    )
    listen(trigger for model, number, kinds, _ in loads for trigger in about(model, number, kinds))
    pairs = size.of(400, 60)
    for model, _, _, name in loads:
        save = saving(model)
        yield at_most(name, compare(Work(save, bare_and_undone), Work(save, undone), pairs=pairs), 1.05)
    few, many = saving(Few), saving(Most)
    yield at_most(f"{most:,} triggers against 10", compare(Work(few, undone), Work(many, undone), pairs=pairs), 1.02)
    with bare_and_undone(), Queries() as control:
        many()
    with undone(), Queries() as ours:
        many()
    yield counts("queries of such a save()", control.number, ours.number, control.number)
    assert not Event.objects.exists()
