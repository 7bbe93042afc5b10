"""Processes of the version before work on the new schema, beside those of this version."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from dsn_core import find_users, store_address
from dsn_core.fanout.expander import expand_due
from dsn_core.models import Address, ConfigurationChange, Delivery, DeliveryPage, Event, Profile, Trigger
from dsn_core.triggers.dispatch import trigger_cache
from tests import services
from tests.ledger.books import Book, subscribe
from tests.ledger.books import environment as ledger
from tests.ledger.messenger import LedgerMessenger
from tests.testapp.models import Country, Movie, Place

#: The version before, as git knows it: later the tag of the last release.
BEFORE = "290947c7c68f1bc2f148b36a25cd70a1f8a68484"
ROOT = Path(__file__).resolve().parent.parent.parent

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.slow_everywhere]


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source of the version before."""
    git = shutil.which("git")
    if git is None:
        reason = "there is no git"
    else:
        done = subprocess.run([git, "archive", "--format=tar", BEFORE], cwd=ROOT, capture_output=True, check=False)
        reason = done.stderr.decode().strip() if done.returncode else ""
    if reason:
        reason = f"the source of {BEFORE} is needed, and git does not have it here (fetch the whole history): {reason}"
        if services.is_required():
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("before")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path / "ledger")


@pytest.fixture
def old(before: Path, book: Book, child_environment: dict[str, str]) -> Callable[[str], str]:
    """Run Python code in a process of the version before; return what it prints."""
    # With the plugins whose addresses it is asked for.
    dsn = {"RUNNER": "worker", "REFRESH_SECONDS": 0, "PLUGINS": ["sms", "telegram"]}
    return lambda code: _run(code, before, ledger(child_environment, book, **dsn))


@pytest.fixture
def new(book: Book, child_environment: dict[str, str]) -> Callable[[str], str]:
    """The same in a process of this version."""
    return lambda code: _run(code, ROOT, ledger(child_environment, book, RUNNER="worker", REFRESH_SECONDS=0))


def _run(code: str, folder: Path, environment: dict[str, str]) -> str:
    # With the plugins of its own version: later ones may need what its core does not have.
    path = os.pathsep.join(map(os.fspath, [folder, *sorted(folder.glob("plugins/dsn-*"))]))
    done = subprocess.run(
        [sys.executable, "-c", f"import django\ndjango.setup()\n{IMPORTS}\n{code}"],
        cwd=folder,
        env=environment | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    place, _, said = done.stdout.partition("\n")
    assert Path(place).is_relative_to(folder), "the process ran another version"
    return said


IMPORTS = """
import dsn_core
print(dsn_core.__file__, flush=True)
from django.core.management import call_command
from django.db import connection, transaction
from dsn_core.models import Trigger
from tests.testapp.models import Country, Movie, Place
connection.ensure_connection()
"""

WORK = "call_command('dsn_worker', '--once', verbosity=0)"


@pytest.fixture(autouse=True)
def _look_at_every_moment(settings: Any) -> None:
    settings.DSN = {"RUNNER": "worker", "REFRESH_SECONDS": 0}


@pytest.fixture
def ledger_messenger(dsn: Any, _look_at_every_moment: None) -> None:
    dsn.add(LedgerMessenger)


@pytest.fixture
def trigger(ledger_messenger: None) -> Trigger:
    """New movies make a delivery each by the ledger. Defined here: this process is one of this version."""
    subscribe(1)
    trigger_cache.refresh(force=True)
    return Trigger.objects.get()


def make_movies(*names: str) -> None:
    for name in names:
        Movie.objects.create(name=name)


def statuses() -> list[str]:
    return list(Delivery.objects.order_by("pk").values_list("status", flat=True))


@pytest.mark.parametrize(("records", "works"), [("old", "old"), ("old", "new"), ("new", "old")])
def test_what_one_version_records_the_other_sends(
    trigger: Trigger, book: Book, records: str, works: str, old: Callable[[str], str], new: Callable[[str], str]
) -> None:
    if records == "new":
        make_movies(*"abc")
    else:
        old("for name in 'abc': Movie.objects.create(name=name)")
    assert Event.objects.filter(trigger=trigger, status="pending").count() == 3
    (old if works == "old" else new)(WORK)
    assert statuses() == ["sent"] * 3
    assert (book.lost(), book.doubled()) == (0, 0)
    assert not Event.objects.filter(not_before__isnull=False).exists()
    assert len(set(Event.objects.values_list("occurrence", flat=True))) == 3


def test_workers_of_both_versions_share_the_work(
    trigger: Trigger, book: Book, old: Callable[[str], str], new: Callable[[str], str]
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    make_movies(*(f"new {number}" for number in range(30)))
    old("for number in range(30): Movie.objects.create(name=f'old {number}')")
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(run, WORK) for run in (old, new)]:
            done.result(300)
    new(WORK)
    assert statuses() == ["sent"] * 60
    assert (book.lost(), book.doubled()) == (0, 0)


def known() -> int:
    index = trigger_cache.matcher()
    return 0 if index is None else len(index)


def test_edits_of_the_version_before_are_followed(old: Callable[[str], str], trigger: Trigger) -> None:
    ConfigurationChange.objects.filter(pk=ConfigurationChange.FIRST).delete()
    assert known() == 1
    # The first edit inserts its row, the second one changes it.
    for number, model in enumerate((Country, Place), start=2):
        old(f"Trigger.objects.define('post_save', action_object={model.__name__}).subscribe()")
        assert ConfigurationChange.objects.filter(pk=ConfigurationChange.FIRST).count() == 1
        trigger_cache.refresh()
        assert known() == number
    old("Trigger.objects.all().delete()")
    trigger_cache.refresh()
    assert known() == 0
    Movie.objects.create(name="M")
    assert not Event.objects.exists()


def test_edits_of_both_versions_beside_each_other(
    old: Callable[[str], str], trigger: Trigger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ConfigurationChange, "MAX", 10)
    monkeypatch.setattr(ConfigurationChange, "KEEP", 4)
    old("Trigger.objects.define('post_save', action_object=Country).subscribe()")
    for _ in range(15):
        trigger.save()
    old("Trigger.objects.define('post_save', action_object=Place).subscribe()")
    trigger_cache.refresh()
    assert known() == 3
    Place.objects.create(name="P")
    assert Event.objects.count() == 1


def test_a_process_of_the_version_before_that_starts_sees_what_was_edited(
    old: Callable[[str], str], trigger: Trigger
) -> None:
    trigger.enabled = False
    trigger.save()
    old("Movie.objects.create(name='M')")
    assert not Event.objects.exists()


OF_ANN = """
from django.contrib.auth.models import User
from dsn_core import find_users, store_address
ann = User.objects.get(username="ann")
"""


def test_addresses_while_both_versions_run(old: Callable[[str], str]) -> None:
    """What this version stores the version before reads; the other way round when its last process has ended."""
    ann = User.objects.create_user("ann")
    store_address(ann, "sms", "+49 1")
    assert old(f"{OF_ANN}print(*find_users('sms', '+49 1')); store_address(ann, 'telegram', '7')") == "ann\n"
    assert not find_users("telegram", "7").exists()
    assert Profile.objects.copy_to_addresses() == 1
    assert [*find_users("telegram", "7")] == [ann]
    store_address(ann, "telegram", "")
    assert old(f"{OF_ANN}print(*find_users('telegram', '7')); store_address(ann, 'sms', '')") == "\n"
    assert [*find_users("sms", "+49 1")] == [ann]
    assert Profile.objects.copy_to_addresses() == 1
    assert not Address.objects.exists()


def test_the_version_before_sends_nothing_of_what_waits_in_pages(
    old: Callable[[str], str], new: Callable[[str], str], book: Book, ledger_messenger: None
) -> None:
    subscribe(150)
    make_movies("M")
    expand_due("default")
    assert DeliveryPage.objects.count() == 1
    old(WORK)
    assert book.lines() == []
    new(WORK)
    assert statuses() == ["sent"] * 150
    assert (book.lost(), book.doubled()) == (0, 0)
