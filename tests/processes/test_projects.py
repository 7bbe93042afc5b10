"""The tests of a project that uses dsn-core: each sees its own triggers, and none is disturbed.

A project of its own, whose tests (``project_tests.py``) run as its developers run them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.db import connection

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]

#: What the project's settings are beside those of the processes. Every moment is one at which a look is due.
SETTINGS = """
from tests.processes.settings import *
from tests.settings import DATABASES
# Projects have Django's own flush.
INSTALLED_APPS.remove("tests.flushing")
DSN = {"RUNNER": "worker", "REFRESH_SECONDS": 0, "STRICT": True}
# Their rows are made anew after a flush, and would then be there twice.
TEST_NON_SERIALIZED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]
"""
IN_MEMORY = 'DATABASES["default"]["TEST"] = {}\n'

PYTEST = ("pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "test_project.py")
#: The tests of both runners, and those that only pytest finds.
NUMBER = 18
NUMBER_OF_DJANGOS_RUNNER = 11


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copy(Path(__file__).with_name("project_tests.py"), tmp_path / "test_project.py")
    (tmp_path / "project_settings.py").write_text(SETTINGS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nDJANGO_SETTINGS_MODULE = project_settings\n")
    return tmp_path


def run(project: Path, *command: str) -> int:
    """Run the tests; return how many there were."""
    path = os.pathsep.join([os.fspath(project), os.fspath(django_settings.BASE_DIR)])
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "project_settings",
        "PYTHONPATH": path,
        # Databases of its own, also beside the other processes that share these tests.
        "DSN_TEST_SUFFIX": f"{os.environ['DSN_TEST_SUFFIX']}_project_{os.environ.get('PYTEST_XDIST_WORKER', '')}",
    }
    for name in [name for name in environment if name.startswith(("PYTEST_", "DSN_TEST_DATABASE_NAME"))]:
        del environment[name]
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    counted = re.search(r"(\d+) passed", said) or re.search(r"Ran (\d+) tests", said)
    assert counted, said
    return int(counted[1])


@pytest.fixture(params=["file", "in memory"])
def place(request: pytest.FixtureRequest, project: Path) -> None:
    """SQLite's test database is in memory, unless the project says otherwise."""
    if request.param == "in memory":
        if connection.vendor != "sqlite":
            pytest.skip("only SQLite has databases in memory")
        with (project / "project_settings.py").open("a") as file:
            file.write(IN_MEMORY)


def test_pytest(project, place):
    assert run(project, *PYTEST) == NUMBER


def test_pytest_with_two_processes(project, place):
    # Class by class: in another order a test would see the flush that docs/howto/testing.md excepts.
    assert run(project, *PYTEST, "-n", "2", "--dist=loadscope") == NUMBER


def test_pytest_that_keeps_its_database(project):
    assert run(project, *PYTEST, "--reuse-db") == NUMBER
    assert run(project, *PYTEST, "--reuse-db") == NUMBER
    # And throws it away at last.
    assert run(project, *PYTEST, "--create-db") == NUMBER


@pytest.mark.parametrize("arguments", [(), ("--reverse",), ("--parallel", "2")], ids=["", "reversed", "parallel"])
def test_djangos_own_runner(arguments, project, place):
    assert run(project, "django", "test", "--noinput", *arguments) == NUMBER_OF_DJANGOS_RUNNER
