"""Mutation tests: a safeguard is removed from a copy of the source, and a named test must fail there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Mutation:
    """In ``file``, ``what`` becomes ``instead``; ``test`` is to notice."""

    file: str
    what: str
    instead: str
    test: str


MUTATIONS = {
    "without SKIP LOCKED": Mutation(
        "queue/claiming.py",
        "skip_locked=features.has_select_for_update_skip_locked",
        "skip_locked=False",
        "tests/queue/test_claiming.py::test_rows_that_another_worker_is_just_taking_are_passed_over",
    ),
    "settling without the token": Mutation(
        "sending/settling.py",
        "update, some, names, using, claimed.owned(using)",
        "update, some, names, using",
        "tests/sending/test_sending.py::test_settling_is_refused_when_another_worker_took_over",
    ),
    "handing over without the lease": Mutation(
        "sending/batch.py",
        "if is_held and not self._is_abandoned:",
        "if True:",
        "tests/runners/test_gate.py::test_what_outlasts_its_lease_is_handed_over_by_who_took_it[usual-cyd-drain]",
    ),
    "recording without a savepoint": Mutation(
        "savepoints.py",
        'cursor.execute(f"{set_}; {sql}; {release}", params)',
        "cursor.execute(sql, params)",
        "tests/intake/test_intake.py::TestTrouble"
        "::test_a_failing_insert_is_logged_once_with_the_trigger_and_the_caller_goes_on",
    ),
    "matching without a savepoint": Mutation(
        "savepoints.py",
        "if not self._is_set:",
        "if False:",
        "tests/test_savepoints.py::TestGuarded::test_a_query_that_fails_takes_back_what_was_done_and_no_more",
    ),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of the source, in which nothing is taken out, and all of the tests pass."""
    folder: Path = tmp_path_factory.mktemp("source")
    for name in ("dsn_core", "tests", "pyproject.toml", "conftest.py"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, folder / name)
    assert outcome(folder, *(mutation.test for mutation in MUTATIONS.values())) == 0
    return folder


def outcome(folder: Path, *tests: str) -> int:
    """The exit status of pytest with ``tests`` in the copy."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "FAULTS_"))}
    environment |= {"PYTHONPATH": os.fspath(folder), "DSN_TEST_SUFFIX": f"mutated_{os.getpid()}"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False).returncode


@pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=MUTATIONS)
def test_a_safeguard_that_is_taken_out_is_missed(mutation, source, figure):
    file = source / "dsn_core" / mutation.file
    whole = file.read_text(encoding="utf-8")
    assert whole.count(mutation.what) == 1
    try:
        file.write_text(whole.replace(mutation.what, mutation.instead), encoding="utf-8")
        assert outcome(source, mutation.test) == 1, "it fails where the safeguard is gone"
    finally:
        file.write_text(whole, encoding="utf-8")
    figure(f"noticed by {mutation.test.rpartition('::')[2][:44]}")
