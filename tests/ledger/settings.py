"""The settings of the processes that tests with the ledger start. DSN comes as JSON in the environment."""

from __future__ import annotations

import json
import os

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

# Without the apps of plugins: DSN["PLUGINS"] says which of them are there.
INSTALLED_APPS = [*(name for name in INSTALLED_APPS if name != "dsn_telegram"), "tests.ledger"]
DSN = json.loads(os.environ["DSN_TEST_LEDGER_DSN"])
