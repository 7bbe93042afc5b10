"""Runs all checks of the repository, one after the other, and says which passed and how long each took.

``.ci/run`` calls it: ``check.py SECONDS FOLDER [SESSION ...]``, with the seconds that were spent already, a folder for
what the run leaves (removed at the end), and the nox sessions to run (all, if none is given).
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import machine
import servers

#: The quick ones first. ``make-test`` has the default Python, with the oldest Django where that is 3.11; ``tests``
#: repeats the core's suite with the next (``nox -s tests`` has all pairs), ``databases`` with the newest of both.
SESSIONS = (
    *("lint", "layers", "types", "migrations", "docs", "make-test", "plugins", "demo"),
    *("tests(3.12-django6.0)", "databases(database='postgresql')", "lowest", "faults"),
)
#: Seconds for all of it, unless CI_BUDGET says otherwise: what is not done by then has failed.
BUDGET = 5_250


class Run:
    """The steps that were taken, and the time that is left for others."""

    def __init__(self, spent: float, folder: Path) -> None:
        self.began = time.monotonic() - spent
        self.report = folder / "nox.json"
        self.rows: list[str] = []
        self.has_failed = False

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    @property
    def left(self) -> float:
        return float(os.environ.get("CI_BUDGET", BUDGET)) - self.seconds

    def step(self, name: str, work: Callable[[], str]) -> None:
        """Do ``work``, which returns why it failed, and go on."""
        print(f"\n##### {name}", flush=True)
        began = time.monotonic()
        failure = work() if self.left > 0 else "out of time"
        verdict = (f"FAILED: {failure}" if failure else "passed") + self.skipped()
        self.has_failed |= bool(failure)
        self.rows.append(f"{time.monotonic() - began:5.0f} s  {name:<28} {verdict}")
        print(f"##### {self.rows[-1].strip()}", flush=True)

    def command(self, *command: str) -> str:
        """Run a command for as long as there is time; return why it failed."""
        # In a group of its own, so that nothing of it is left when its time is over.
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            status = process.wait(self.left)
        except subprocess.TimeoutExpired:
            return "out of time"
        finally:
            servers.end(process)
        return f"exit status {status}" if status else ""

    def skipped(self) -> str:
        """What the last nox run skipped (a Python that is not here), from its report, which is used up."""
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):  # a killed nox leaves half a report
            sessions = json.loads(self.report.read_text())["sessions"]
            self.report.unlink()
            names = [session["signatures"][0] for session in sessions if session["result"] == "skipped"]
            return f"; skipped: {', '.join(names)}" if names else ""
        return ""


def main(arguments: Sequence[str]) -> int:
    """Run the sessions, say how it went, and return the exit status."""
    spent, folder, *chosen = arguments
    # As at Ctrl-C: the services and the running step end with this process.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run = Run(float(spent), Path(folder))
    nox = (f"{sys.prefix}/bin/nox", "--non-interactive", "--report", os.fspath(run.report), "-s")
    with contextlib.ExitStack() as stack:
        run.step("system packages", machine.install_packages)
        run.step("services", lambda: servers.start_missing(Path(folder), stack))
        for session in chosen or SESSIONS:
            command = ("make", "test") if session == "make-test" else (*nox, session)
            run.step(session, functools.partial(run.command, *command))
    print(f"\n##### Summary: {run.seconds:.0f} s", *run.rows, sep="\n")
    print("CI FAILED" if run.has_failed else "CI passed")
    return int(run.has_failed)


if __name__ == "__main__":
    try:
        raise SystemExit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    finally:
        shutil.rmtree(sys.argv[2], ignore_errors=True)
