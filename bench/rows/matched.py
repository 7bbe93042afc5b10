"""A signal that matches costs its caller one row."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

from bench.data import bare_and_undone, undone
from bench.measure import Queries, Work, compare
from bench.models import OutboxRow, Watched
from bench.rows import Size
from bench.table import Row, at_most, counts
from dsn_core.models import Delivery, Event, Trigger


def save() -> None:
    Watched(name="a").save()


def save_and_write_a_row() -> None:
    """What a project without us would do: a row in an outbox of its own, by the ORM."""
    film = Watched(name="a")
    film.save()
    OutboxRow.objects.create(
        trigger_id=1,
        occurrence=uuid.uuid4(),
        verb="post_save",
        payload=json.dumps({"model": "bench.watched", "pk": film.pk, "name": film.name, "status": film.status}),
    )


def measure(size: Size) -> Iterator[Row]:
    """In a transaction of the caller's, with the savepoint around our row; nothing is sent before the commit."""
    Trigger.objects.define("post_save", action_object=Watched).subscribe()
    found = compare(Work(save_and_write_a_row, bare_and_undone), Work(save, undone), pairs=size.of(500, 80))
    yield at_most("matched save(), or one ORM row", found, 1.15)
    with bare_and_undone(), Queries() as control:
        save_and_write_a_row()
    with undone(), Queries() as ours:
        save()
        assert Event.objects.count() == 1
        assert not Delivery.objects.exists()
    # Not counted: the assertions' two.
    yield counts("queries, savepoint included", control.number, ours.number - 2, control.number + 2)
