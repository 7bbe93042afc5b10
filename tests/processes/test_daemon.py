"""Processes that serve no requests, and what another process deletes under somebody's hands."""

from __future__ import annotations

import subprocess
import sys

import pytest
from django.db import connection, transaction

from dsn_core.models import Event, Trigger
from tests.processes.conftest import follow
from tests.testapp.models import Place
from tests.waiting import PATIENCE

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]


def test_a_daemon_follows_at_its_next_connection_or_when_it_asks(environment, listen):
    code = (
        "import sys, django; django.setup()\n"
        "import dsn_core\n"
        "from django.db import connection\n"
        "from dsn_core.models import Event\n"
        "from tests.testapp.models import Place\n"
        "while line := sys.stdin.readline().strip():\n"
        "    if line == 'refresh': dsn_core.refresh()\n"
        "    if line == 'connect': connection.close()\n"
        "    Place.objects.create(name='P')\n"
        "    print(Event.objects.count(), flush=True)\n"
    )
    daemon = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def ask(line: str) -> int:
        assert daemon.stdin is not None
        assert daemon.stdout is not None
        daemon.stdin.write(f"{line}\n")
        daemon.stdin.flush()
        return int(daemon.stdout.readline())

    # Leaving the block ends it: its input is closed.
    with daemon:
        assert ask("save") == 0
        trigger = listen("post_save", action_object=Place)
        follow()
        # Nothing told it.
        assert ask("save") == 0
        assert ask("connect") == 1
        trigger.delete()
        assert ask("save") == 2
        # It need not wait for the time that must pass between two looks.
        assert ask("refresh") == 2
        listen("post_save", action_object=Place)
        assert ask("refresh") == 3
    assert daemon.returncode == 0


class TestTriggersThatAreDeletedElsewhere:
    """The process that saves does not know yet. Its data must be there, whatever becomes of the event."""

    @pytest.fixture
    def delete(self, environment):
        code = "import django; django.setup(); from dsn_core.models import Trigger; Trigger.objects.all().delete()"
        return lambda: subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=PATIENCE)

    def check(self):
        # Asked on a connection of its own.
        connection.close()
        assert Place.objects.get().name == "P"
        assert not Trigger.objects.exists()
        assert Event.objects.count() == 1

    @pytest.mark.parametrize("checked", ["IMMEDIATE", "DEFERRED"])
    def test_before_the_signal(self, checked, delete, listen):
        listen("post_save", action_object=Place)
        delete()
        with transaction.atomic():
            self.set_constraints(checked)
            Place.objects.create(name="P")
        self.check()

    @pytest.mark.parametrize("checked", ["IMMEDIATE", "DEFERRED"])
    def test_between_the_signal_and_the_commit(self, checked, delete, listen):
        if connection.vendor == "sqlite":
            pytest.skip("one writer: nobody can delete anything in between")
        listen("post_save", action_object=Place)
        with transaction.atomic():
            self.set_constraints(checked)
            Place.objects.create(name="P")
            delete()
        self.check()

    @staticmethod
    def set_constraints(checked):
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(f"SET CONSTRAINTS ALL {checked}")
