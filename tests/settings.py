"""The Django settings under which all tests run, those of the core and those of the plugins.

``DSN_TEST_DATABASE`` chooses the database: ``sqlite`` (default), ``postgresql`` or ``mariadb``;
:mod:`tests.services` says where the latter two are.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import django

from tests.services import SERVICES

BASE_DIR = Path(__file__).resolve().parent.parent

DATABASE = os.environ.get("DSN_TEST_DATABASE", "sqlite")

# Runs side by side must not share a database. Processes that a run starts (those of pytest-xdist, too) inherit
# the suffix from the process that imports this module first.
_VERSIONS = "py{}{}_dj{}{}".format(*sys.version_info[:2], *django.VERSION[:2])
SUFFIX = os.environ.setdefault("DSN_TEST_SUFFIX", f"{_VERSIONS}_{os.getpid()}")


def _database() -> dict[str, Any]:
    # A process that a test starts works on the test's database itself: see `child_environment` in conftest.py.
    given = os.environ.get("DSN_TEST_DATABASE_NAME")
    name = f"dsn_{SUFFIX}"
    if DATABASE == "sqlite":
        # A file, because every connection to :memory: from another thread or process is another database.
        folder = Path(tempfile.gettempdir())
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": given or folder / f"{name}.sqlite3",
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                # Nobody needs this data after a power cut.
                "init_command": "PRAGMA synchronous = OFF",
            },
            "TEST": {"NAME": folder / f"test_{name}.sqlite3"},
        }
    if DATABASE == "postgresql":
        return {"ENGINE": "django.db.backends.postgresql", "NAME": given or name, **SERVICES[DATABASE].settings()}
    if DATABASE == "mariadb":
        return {
            "ENGINE": "django.db.backends.mysql",
            "NAME": given or name,
            "OPTIONS": {"charset": "utf8mb4"},
            "TEST": {"CHARSET": "utf8mb4"},
            **SERVICES[DATABASE].settings(),
        }
    raise ValueError(f"DSN_TEST_DATABASE is {DATABASE!r}; it can be sqlite, postgresql or mariadb.")


DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "dsn_core",
    "tests.flushing",
    "tests.testapp",
    "tests.shapes",
]
# Not where only the distributions are installed, as for the check of the migrations.
if importlib.util.find_spec("django_tasks_db"):
    INSTALLED_APPS.append("django_tasks_db")
    TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
# Plugins that are apps, too. One plugin's own run lacks the others.
INSTALLED_APPS += [name for name in ("dsn_telegram",) if importlib.util.find_spec(name)]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

ROOT_URLCONF = "tests.urls"
STATIC_URL = "static/"
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
SECRET_KEY = "only-for-tests"
# The default takes a quarter of a second per user.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"

_IN_MEMORY = "django.core.mail.backends.locmem.EmailBackend"
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": _IN_MEMORY}}
else:
    EMAIL_BACKEND = _IN_MEMORY
