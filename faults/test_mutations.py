"""Does anything notice? A safeguard is taken out of a copy of the source, and a named test must fail there."""

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
        "pipeline/claiming.py",
        "skip_locked=features.has_select_for_update_skip_locked",
        "skip_locked=False",
        "tests/pipeline/test_claiming.py::test_rows_that_another_worker_is_just_taking_are_passed_over",
    ),
    "settling without the token": Mutation(
        "pipeline/settling.py",
        "update(rows, _SETTLED, using, lease_token=claimed.token)",
        "update(rows, _SETTLED, using)",
        "tests/pipeline/test_sending.py::test_settling_is_refused_when_another_worker_took_over",
    ),
}


@pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=MUTATIONS)
def test_a_safeguard_that_is_taken_out_is_missed(mutation, tmp_path, figure):
    for name in ("dsn_core", "tests", "pyproject.toml", "conftest.py"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, tmp_path / name)
    file = tmp_path / "dsn_core" / mutation.file
    source = file.read_text(encoding="utf-8")

    def outcome() -> int:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "FAULTS_"))}
        environment |= {"PYTHONPATH": os.fspath(tmp_path), "DSN_TEST_SUFFIX": f"mutated_{os.getpid()}"}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", mutation.test]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False).returncode

    assert outcome() == 0, "it passes where nothing is taken out"
    assert source.count(mutation.what) == 1
    file.write_text(source.replace(mutation.what, mutation.instead), encoding="utf-8")
    assert outcome() == 1, "it fails where the safeguard is gone"
    figure(f"noticed by {mutation.test.rpartition('::')[2][:44]}")
