"""The settings of the processes that these tests start. The environment says what differs between them."""

from __future__ import annotations

import os

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, INSTALLED_APPS, MIDDLEWARE

INSTALLED_APPS = [*INSTALLED_APPS, "tests.processes"]
MIDDLEWARE = [*MIDDLEWARE, "tests.processes.site.name_process"]
ROOT_URLCONF = "tests.processes.site"
# Without the plugins that are installed: no test here needs them, and each process would import their libraries.
DSN = {
    "RUNNER": "worker",
    "REFRESH_SECONDS": float(os.environ.get("DSN_TEST_REFRESH_SECONDS", "0.2")),
    "PLUGINS": [],
}
DATABASES["default"] |= {
    "CONN_MAX_AGE": int(os.environ.get("DSN_TEST_CONN_MAX_AGE", "0")),
    "ATOMIC_REQUESTS": bool(os.environ.get("DSN_TEST_ATOMIC_REQUESTS")),
}
