"""An edit in another process is followed by reading what it changed, however many triggers there are."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from django.conf import settings
from django.db import connection
from django.db.models import QuerySet

from bench.data import about, listen
from bench.models import Plain
from bench.rows import Size
from bench.table import Row, seconds
from dsn_core.models import ConfigurationChange, Trigger
from dsn_core.triggers.dispatch import trigger_cache

KINDS = ("key", "target", "condition")
#: Seconds of the processor, for the reading and for the first save after it.
BOUND = 0.05


def measure(size: Size) -> Iterator[Row]:
    """With 1,000 triggers (the control) and with 20,000."""
    many, rounds = size.of(20_000, 5_000), size.of(31, 11)
    settings.DSN = {**settings.DSN, "REFRESH_SECONDS": 0}
    listen(about(Plain, 1_000, KINDS))
    few_read, few_saved = _follow(rounds)
    listen(about(Plain, many - 1_000, KINDS, verb="pre_save"))
    read, saved = _follow(rounds)
    for name, there, here in (("an edit elsewhere", few_read, read), ("... the first save after it", few_saved, saved)):
        yield Row(
            f"{name}, {many:,}",
            seconds(there),
            seconds(here),
            f"{here / there:.2f}",
            bound=f"<{BOUND * 1e3:.0f}ms",
            ok=here <= BOUND,
        )


def _follow(rounds: int) -> tuple[float, float]:
    """Seconds of the processor that following one edit takes, and the first save after it; medians."""
    row = Plain.objects.create()
    keys = list(Trigger.objects.order_by("-pk").values_list("pk", flat=True)[:rounds])
    reading, saving = [], []
    for number, key in enumerate(keys):
        # As another process leaves it: this one has heard nothing.
        QuerySet(Trigger, using=connection.alias).filter(pk=key).update(action_object_pk=str(3_000_000_000 + number))
        ConfigurationChange.insert(connection.alias, [key])
        started = time.process_time()
        trigger_cache.refresh(patient=True)
        reading.append(time.process_time() - started)
        started = time.process_time()
        row.save()
        saving.append(time.process_time() - started)
    return statistics.median(reading), statistics.median(saving)
