"""Messages that cause messages, through real workers: they come to an end, and the log says why."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from dsn_core import Receipt
from dsn_core.models import Delivery, Event, Trigger
from dsn_core.testing import MemoryMessenger
from tests.testapp.models import Movie

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

#: The app that the worker has installed. Its messenger saves a movie for each message.
PLUGIN = """
from dsn_core import BaseMessenger, Receipt, hookimpl


class Echo(BaseMessenger):
    name = "echo"

    def send_messages(self, messages):
        from tests.testapp.models import Movie

        for message in messages:
            Movie.objects.create(name=f"after {message.id}")
            yield Receipt.sent(message=message)


@hookimpl
def dsn_messengers():
    return [Echo]
"""


class Echo(MemoryMessenger):
    """Known in this process by its name only: the worker's own does the work."""

    name = "echo"

    def send_messages(self, messages):
        pytest.fail("the worker sends")
        yield Receipt.sent()


@pytest.mark.slow
def test_a_message_that_causes_the_next_ends_through_worker_processes(
    dsn, settings, django_user_model, child_environment, tmp_path
):
    settings.DSN = {"RUNNER": "worker"}
    dsn.add(Echo)
    ann = django_user_model.objects.create_user("ann", "ann@example.org")
    trigger = Trigger.objects.define("post_save", action_object=Movie)
    trigger.subscribe(users=[ann], backends=[("echo", "simple")])
    app = tmp_path / "echoing"
    app.mkdir()
    (app / "__init__.py").touch()
    (app / "dsn_plugin.py").write_text(PLUGIN)
    (tmp_path / "echo_settings.py").write_text(
        "from tests.settings import *\nINSTALLED_APPS = [*INSTALLED_APPS, 'echoing']\nDSN = {'RUNNER': 'worker'}\n"
    )
    environment = child_environment | {
        "DJANGO_SETTINGS_MODULE": "echo_settings",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), child_environment["PYTHONPATH"]]),
    }
    said = []
    Movie.objects.create(name="the first")
    # Another process takes over each time: what counts stands in the rows.
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "django", "dsn_worker", "--once"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stderr)
    assert sorted(Event.objects.values_list("depth", flat=True)) == [0, 1, 2, 3]
    assert Movie.objects.count() == 5
    assert set(Delivery.objects.values_list("status", flat=True)) == {"sent"}
    assert said[1] == ""
    (line,) = said[0].splitlines()
    assert line == (
        f"Trigger {trigger} matched at depth 4: messages cause one another in a loop. The event is dropped; "
        "correct the triggers, or raise DSN['MAX_DEPTH']."
    )
