"""A process starts without a query, and reads all triggers with one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

from bench.data import about, listen
from bench.models import Busy
from bench.rows import Size
from bench.table import Row, counts

KINDS = ("key", "target", "condition")

#: What a new process does, and what it prints.
PROGRAM = """
import json, os, time
os.environ["DJANGO_SETTINGS_MODULE"] = "bench.settings"
import django
from django.db import connection
statements = []
connection.execute_wrappers.append(lambda execute, *args: (statements.append(args[0]), execute(*args))[1])
django.setup()
in_ready = len(statements) + (connection.connection is not None)
from dsn_core.triggers.dispatch import trigger_cache
from dsn_core.models import Trigger
started = time.perf_counter()
connection.ensure_connection()
seconds = time.perf_counter() - started
reading = [sql for sql in statements if Trigger._meta.db_table in sql]
print(json.dumps({
    "in ready()": in_ready, "to read": len(reading), "other": len(statements) - len(reading), "seconds": seconds,
    "known": len(trigger_cache.matcher()),
}))
"""


def measure(size: Size) -> Iterator[Row]:
    listen(about(Busy, 1_000, KINDS))
    said = json.loads(
        subprocess.run(
            [sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True, env=dict(os.environ)
        ).stdout
    )
    assert said["known"] == 1_000, said
    yield counts("queries in ready()", "", said["in ready()"], 0)
    yield counts("queries for 1,000 triggers", "", said["to read"], 1)
    yield counts("queries beside (the version)", "", said["other"], 1)
    yield Row("connecting and reading them", "", f"{said['seconds'] * 1e3:.0f} ms")
