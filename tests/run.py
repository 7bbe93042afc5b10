"""The whole suite on this Python: on SQLite, then again on every database that answers.

``make test`` runs it; by hand it is ``python -m tests.run``. Its arguments go to pytest:
``python -m tests.run -k fanout``, ``python -m tests.run -n 0 --pdb plugins/dsn-email``.

Tests that follow whole programs (marked ``slow``) run on SQLite only, those marked ``slow_everywhere`` on each.

Environment: ``DSN_TEST_DATABASE`` (only this one: sqlite, postgresql, mariadb), ``DSN_TEST_PROCESSES`` (3, but at most
one more than there are processors: tests wait as often as they compute), ``CI`` (an absent service is a failure), and
where services are: see :mod:`tests.services`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tests import services

ROOT = Path(__file__).resolve().parent.parent
#: In this order. Those but SQLite are services.
DATABASES = ("sqlite", "postgresql", "mariadb")
#: Seconds after which a test counts as hanging.
PATIENCE = 600


@dataclass
class Outcome:
    """What became of the suite on one database."""

    database: str
    status: str
    failed: bool
    counts: tuple[int, int, int] | None = None  # passed, failed, skipped
    seconds: float = 0

    def row(self) -> str:
        """Its line of the table."""
        passed, failed, skipped = map(str, self.counts) if self.counts else ("-", "-", "-")
        return f"{self.database:<12}{passed:>8}{failed:>8}{skipped:>9}{self.seconds:>8.0f} s  {self.status}"


def main(arguments: Sequence[str]) -> int:
    """Run the suite as often as it takes, say how it went, and return the exit status."""
    chosen = os.environ.get("DSN_TEST_DATABASE")
    if chosen and chosen not in DATABASES:
        print(f"DSN_TEST_DATABASE is {chosen!r}; it can be {', '.join(DATABASES)}.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="dsn-tests-") as folder:
        outcomes = [run_on(database, arguments, Path(folder)) for database in ([chosen] if chosen else DATABASES)]
    print_summary(outcomes)
    return int(any(outcome.failed for outcome in outcomes))


def run_on(database: str, arguments: Sequence[str], folder: Path) -> Outcome:
    """The suite on one database, in a pytest of its own. ``folder`` is for what the run leaves."""
    if database in services.SERVICES and services.absence(database):
        required = services.is_required()
        return Outcome(database, "FAILED: absent, and CI needs it" if required else "skipped: absent", failed=required)
    print(f"\n=== The suite on {database}, Python {sys.version.split()[0]} ===", flush=True)
    report = folder / f"{database}.xml"
    command = [
        *(sys.executable, "-m", "pytest", f"--timeout={PATIENCE}", f"--junitxml={report}"),
        # A process that has no tests left takes some from another: some tests take a hundred times as long as others.
        *("-n", str(processes()), "--dist=worksteal"),
    ]
    if database != "sqlite" and not arguments:
        command += ["-m", "not slow or slow_everywhere"]
    started = time.monotonic()
    # Flushed above, and not captured: the dots are to be seen while it runs.
    status = subprocess.run([*command, *arguments], cwd=ROOT, env=environment(database, folder), check=False).returncode
    return Outcome(
        database,
        {0: "passed", 1: "FAILED", 5: "FAILED: no test was run"}.get(status, f"FAILED: pytest ended with {status}"),
        failed=status != 0,
        counts=read_counts(report),
        seconds=time.monotonic() - started,
    )


def environment(database: str, folder: Path) -> dict[str, str]:
    """The environment of pytest, and of the processes that tests start."""
    made = os.environ | {"DSN_TEST_DATABASE": database}
    if sys.dont_write_bytecode:
        # Hundreds of processes import Django: without bytecode each of them would compile it, for seconds. None of it
        # is written beside the sources. In a virtual environment it stays for the next run.
        place = (Path(sys.prefix) if sys.prefix != sys.base_prefix else folder) / "bytecode"
        made["PYTHONDONTWRITEBYTECODE"] = ""
        made.setdefault("PYTHONPYCACHEPREFIX", os.fspath(place))
    return made


def processes() -> int:
    """How many processes share the tests."""
    return min(int(os.environ.get("DSN_TEST_PROCESSES", "3")), (os.cpu_count() or 1) + 1)


def read_counts(report: Path) -> tuple[int, int, int] | None:
    """Passed, failed and skipped from pytest's report; None when there is no report."""
    if not report.exists():
        return None
    suites = list(ElementTree.parse(report).getroot().iter("testsuite"))  # noqa: S314 (we made it)
    total, failures, errors, skipped = (
        sum(int(suite.get(name, 0)) for suite in suites) for name in ("tests", "failures", "errors", "skipped")
    )
    return total - failures - errors - skipped, failures + errors, skipped


def print_summary(outcomes: Sequence[Outcome]) -> None:
    """A table, and below it what was absent."""
    print(f"\n{'database':<12}{'passed':>8}{'failed':>8}{'skipped':>9}{'time':>10}")
    for outcome in outcomes:
        print(outcome.row())
    absent = {name: reason for name in services.SERVICES if (reason := services.absence(name))}
    if absent:
        print("\nServices that do not answer; their tests were not run:")
        for name, reason in absent.items():
            print(f"  {name}: {reason}")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
