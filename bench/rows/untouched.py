"""Models that no trigger names pay nothing for those that are named."""

from __future__ import annotations

from collections.abc import Iterator

from bench.data import about, bare, bare_and_undone, listen, undone
from bench.measure import Queries, Work, compare
from bench.models import Busy, Plain
from bench.rows import Size
from bench.table import Row, at_most, counts

#: Rows of the delete.
DELETED = 10_000
VERBS = ("post_save", "pre_save", "post_delete", "pre_delete")


def save() -> None:
    Plain(name="a").save()


def create() -> None:
    Plain(name="a")


def measure(size: Size) -> Iterator[Row]:
    """Triggers stand on another model: 1,000 of them, on all signals of its saves and deletes."""
    for verb in VERBS:
        listen(about(Busy, 1_000 // len(VERBS), ["key", "target", "condition"], verb))
    pairs = size.of(600, 100)
    yield at_most(
        "save(), no trigger names it", compare(Work(save, bare_and_undone), Work(save, undone), pairs=pairs), 1.02
    )
    yield at_most("creating an instance", compare(Work(create, bare), Work(create), pairs=pairs), 1.02)
    with bare_and_undone(), Queries() as control:
        save()
    with undone(), Queries() as ours:
        save()
    yield counts("queries of such a save()", control.number, ours.number, control.number)
    yield _delete(size)
    listen(about(Busy, 1, ["key"], "post_init"))
    # A property of Django: if post_init of one model has a receiver, each send() uses the cache of senders.
    yield at_most("... some post_init elsewhere", compare(Work(create, bare), Work(create), pairs=pairs), None)


def _delete(size: Size) -> Row:
    number = size.of(DELETED, 1_000)
    found = []
    for around in (bare_and_undone, undone):
        with around():
            Plain.objects.bulk_create([Plain(name="a") for _ in range(number)], batch_size=1_000)
            with Queries() as queries:
                assert Plain.objects.all().delete()[0] == number
            found.append(queries.number)
    return counts(f"queries: delete {number:,} rows", found[0], found[1], 1)
