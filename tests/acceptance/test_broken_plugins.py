"""A project in which every plugin is broken, each in its own way: every command works, and each fault is said."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.acceptance import several
from tests.plugins.fakes import Site, messenger_source
from tests.waiting import PATIENCE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MODELS = """
from django.db import models

class Note(models.Model):
    {meta}
    of = models.ForeignKey("auth.User", models.CASCADE)
    other = models.ForeignKey("{label}.Other", models.CASCADE, null=True)
"""
#: The plugins, by their names: what is in their modules, and what is said of them.
FAULTS = {
    "importing": ("raise OSError('no disk')", "raised OSError: no disk"),
    "leaving": ("raise SystemExit('bye')", "raised SystemExit: bye"),
    "cancelled": ("import asyncio; raise asyncio.CancelledError", "raised CancelledError"),
    "garbled": ("def (", "raised SyntaxError"),
    "appless": ("required_apps = ['acme_appless']", "it needs 'acme_appless' in INSTALLED_APPS"),
    "misspelt": ("@hookimpl\ndef dsn_mesengers(): return []", "did you mean 'dsn_messengers'?"),
    "raising": ("@hookimpl\ndef dsn_messengers(): raise KeyError('token')", "raised KeyError: 'token'"),
    "exiting": ("@hookimpl\ndef dsn_messengers(): raise SystemExit", "raised SystemExit"),
    "clashing": (messenger_source("console"), "its messenger 'console' is not used"),
    "models": ("from acme_models_app.models import Note", "Model class acme_models_app.models.Note"),
    "labelled": ("required_apps = ['acme_labelled_app']\nfrom acme_labelled_app.models import Note", "it needs"),
}
#: Works itself, and stops a command where its own checks are taken for more than they are.
REFUSING = """
class Refusing(BaseMessenger):
    name = "refusing"
    check = classmethod(lambda cls, options: [Error('no route', hint='dig', id='acme.E001')])
    def send_messages(self, messages): return []

class Runner(BaseRunner):
    name = "refusing"
    def wake(self, using): ...
    check = classmethod(lambda cls: [Error('no broker', hint='start it', id='acme.E002')])

@hookimpl
def dsn_messengers(): return [Refusing]

@hookimpl
def dsn_runners(): return [Runner]
"""
SETTINGS = """
SECRET_KEY = "x"
DEBUG = True
ROOT_URLCONF = __name__
urlpatterns = []
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "dsn_core"]
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": {name!r},
    "OPTIONS": {{"transaction_mode": "IMMEDIATE"}}}}}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DSN = {{"RUNNER": "refusing"}}
USE_TZ = True
"""
FIRE = """
from django.contrib.auth.models import User
from dsn_core.models import Backend, Trigger
Trigger.objects.define("post_save", action_object=User).subscribe(
    addresses=[("console", "desk")], backends=[("console", "simple")])
Backend.objects.get_or_create(messenger="refusing", message_template="simple")
User.objects.create_user("ann")
"""


class Project:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "broken_settings",
            "PYTHONPATH": os.pathsep.join([os.fspath(folder), *filter(None, [os.environ.get("PYTHONPATH")])]),
        }
        (folder / "broken_settings.py").write_text(SETTINGS.format(name=os.fspath(folder / "db.sqlite3")))

    def manage(self, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        done = self._run("-m", "django", *arguments)
        assert done.returncode == status, done.stdout + done.stderr
        return done

    def manage_all(self, *commands: tuple[int, list[str]]) -> list[several.Answer]:
        """Several commands in one process, each after the exit status that it must have."""
        statuses, given = zip(*commands, strict=True)
        return several.answers(self._run(*several.arguments(*given)).stdout, *statuses)

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    site = Site(tmp_path, monkeypatch)
    site.module("acme_models_app.models", MODELS.format(meta="pass", label="acme_models_app"))
    meta = "class Meta: app_label = 'acme_labelled_app'"
    site.module("acme_labelled_app.models", MODELS.format(meta=meta, label="acme_labelled_app"))
    for name, (source, _said) in FAULTS.items():
        site.distribution(f"acme-{name}", {name: f"acme_{name}"}, source)
    site.distribution("acme-refusing", {"refusing": "acme_refusing"}, REFUSING)
    return Project(tmp_path)


def test_every_command_works_and_says_what_is_broken(project: Project) -> None:
    checked = project.manage("check").stderr
    for name, (_source, said) in FAULTS.items():
        assert f"Plugin {name} (acme-{name} 1.0): " in checked
        assert said in checked
    assert "(acme.E002) no broker" in checked
    assert "acme.E001" not in checked
    assert "dsn.W020" not in checked

    project.manage("migrate", "--verbosity", "0")
    project.manage("shell", "-c", FIRE)
    sent = project.manage("dsn_worker", "--once").stdout
    assert "To: desk" in sent
    assert "Done: 1 events, 1 deliveries." in sent
    stored, listed, shown, deployed, *_ = project.manage_all(
        (0, ["check", "--database", "default"]),
        (0, ["dsn_plugins", "--format", "json"]),
        (1, ["dsn_plugins", "--check"]),
        (1, ["check", "--deploy"]),
        # 'migrate' asks the same as 'check --database', and is not stopped.
        (0, ["migrate", "--verbosity", "0"]),
        (0, ["makemigrations", "--check", "--dry-run"]),
        (0, ["dsn_retry", "--help"]),
        (0, ["dsn_purge", "--older-than", "30d"]),
        (0, ["sqlmigrate", "dsn_core", "0001"]),
    )
    # A stored backend names the messenger now.
    assert "(acme.E001) no route" in stored.stderr
    states = {item["name"]: item["state"] for item in json.loads(listed.stdout)["plugins"]}
    assert {name for name in FAULTS if states[name] != "broken"} == {"clashing"}
    assert states["refusing"] == states["builtin"] == "active"
    assert "no broker" in shown.stdout
    assert "(dsn.E015)" in deployed.stderr
    assert "(acme.E001) no route" in deployed.stderr
    if importlib.util.find_spec("dsn_telegram"):
        # As after 'pip install dsn-telegram' and no more.
        assert "it needs 'dsn_telegram' in INSTALLED_APPS" in checked
        assert "Add 'dsn_telegram' to INSTALLED_APPS." in checked


def test_runserver_answers(project: Project) -> None:
    project.manage("migrate", "--verbosity", "0")
    process = subprocess.Popen(
        [sys.executable, "-m", "django", "runserver", "--noreload", "127.0.0.1:0"],
        env=project.environment | {"PYTHONUNBUFFERED": "1"},
        cwd=project.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        said, url = "", None
        # It says where it is as soon as it listens there.
        while url is None and (line := process.stdout.readline()):
            said += line
            url = re.search(r"server at (http://127\.0\.0\.1:\d+/)", line)
        assert url is not None, said
        try:
            status = urllib.request.urlopen(url[1], timeout=PATIENCE).status  # noqa: S310 - loopback
        except urllib.error.HTTPError as error:
            status = error.code
        # Django's own page for a project without addresses.
        assert status in (200, 404)
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)
