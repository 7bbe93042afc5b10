"""What gunicorn serves. With DSN_TEST_KNOWING, the process that loads it knows the triggers already: with
``--preload`` that is the one that forks the others."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application
from django.db import connections

import dsn_core

application = get_wsgi_application()

if os.environ.get("DSN_TEST_KNOWING"):
    dsn_core.refresh()
    # As everybody must who forks: a connection cannot be shared.
    connections.close_all()

from tests.processes import site  # noqa: E402 - its models need the apps

site.watch()
