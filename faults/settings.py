"""The tests' settings, with the messengers and templates of the stage. The environment varies them by process."""

from __future__ import annotations

import json
import os

from faults.stage.clocks import put_off
from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS as _APPS

if _SECONDS := float(os.environ.get("FAULTS_CLOCK", "0")):
    put_off(_SECONDS)

INSTALLED_APPS = [*_APPS, "faults.stage"]
DSN = {"RUNNER": "worker", **json.loads(os.environ.get("FAULTS_DSN", "{}"))}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "loggers": {"dsn_core": {"handlers": ["stderr"], "level": "INFO"}},
}
