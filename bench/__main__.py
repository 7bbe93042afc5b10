"""``python -m bench [row ...]``: measure, and print the table."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from bench.rows import ROWS, Size, load

DATABASES = ("sqlite", "postgresql")


def main(arguments: list[str]) -> int:
    """Measure what is asked for, and return 1 when a bound was missed."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure what dsn-core costs, against plain Django code in the same run.",
        epilog="Rows: " + "; ".join(f"{name}: {what}" for name, what in ROWS.items()),
    )
    parser.add_argument("rows", nargs="*", metavar="row", help="which rows; all without")
    parser.add_argument("--database", choices=DATABASES, help="only on this one")
    parser.add_argument("--quick", action="store_true", help="small sizes: less exact, for a first look")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.rows) - set(ROWS)):
        parser.error(f"No such row: {', '.join(unknown)}. There are {', '.join(ROWS)}.")
    if options.database is None:
        # Each database in a process of its own: Django reads its settings once.
        return max(
            subprocess.run([sys.executable, "-m", "bench", *arguments, "--database", name], check=False).returncode
            for name in DATABASES
        )
    return run(options.rows or list(ROWS), options.database, Size(options.quick))


def run(names: list[str], database: str, size: Size) -> int:
    """Measure the rows called ``names`` on ``database``."""
    os.environ["DSN_BENCH_DATABASE"] = database
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.settings"
    import django

    django.setup()

    from django.db import connection

    from bench.databases import made
    from bench.table import HEAD
    from dsn_core.triggers.dispatch import trigger_cache

    missed = 0
    versions = f"Python {sys.version.split()[0]}, Django {django.__version__}, {os.cpu_count()} processors"
    for name in names:
        # A database of its own for each: no row inherits the triggers of another.
        with made():
            if name == names[0]:
                version = ".".join(map(str, connection.get_database_version()))
                print(f"\n{connection.display_name} {version}, {versions}\n\n{HEAD}")
            print(f"-- {name}: {ROWS[name]}", flush=True)
            for row in load(name)(size):
                print(row, flush=True)
                missed += row.ok is False
        trigger_cache.forget()
    print(f"\n{missed} bounds missed." if missed else "\nAll bounds kept.")
    return int(missed > 0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
