"""The Django project that is measured.

``DSN_BENCH_DATABASE`` chooses the database (``sqlite`` or ``postgresql``, where :mod:`tests.services` says it is),
``DSN_BENCH_NAME`` its name: processes that a bench starts work on the database of that bench.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from tests.services import SERVICES

DATABASE = os.environ.get("DSN_BENCH_DATABASE", "sqlite")
_NAME = os.environ.setdefault("DSN_BENCH_NAME", f"dsn_bench_{os.getpid()}")


def _database(suffix: str = "") -> dict[str, Any]:
    name = _NAME + suffix
    if DATABASE == "sqlite":
        file = Path(tempfile.gettempdir(), f"{name}.sqlite3")
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": file,
            "TEST": {"NAME": file},
            # As one would run a site on it.
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
        }
    settings = SERVICES["postgresql"].settings()
    return {"ENGINE": "django.db.backends.postgresql", "NAME": name, "TEST": {"NAME": name}, **settings}


#: ``full``: a second one, for what is compared between an empty table and a large one.
DATABASES = {"default": _database(), "full": _database("_full")}
DATABASE_ROUTERS = ["bench.databases.Switch"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "dsn_core", "bench"]
USE_TZ = True
SECRET_KEY = "only-for-benches"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates"}]

DSN: dict[str, Any] = {"RUNNER": "worker"}
