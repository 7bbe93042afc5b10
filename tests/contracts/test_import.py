"""The public names work where Django is not set up."""

from __future__ import annotations

import os
import subprocess
import sys

from django.conf import settings

PROGRAM = """
import sys
from dsn_core import (BaseMessenger, BaseMessageTemplate, BaseReceiverResolver, BaseReceiverFilter, Message, Options,
                      Receipt, Receiver, SignalRegistration, emit, hookimpl, refresh, register_signal, secret)
import dsn_core.hookspecs
from django.apps import apps
from django.conf import settings

class Pager(BaseMessenger):
    def send_messages(self, messages):
        return [Receipt.sent(message=message) for message in messages]

class Hello(BaseMessageTemplate):
    template_string = "hello"

Pager.check_contract()
Hello.check_contract()
assert [receipt.outcome.value for receipt in Pager().send_messages([Message("x")])] == ["sent"]
assert not settings.configured and not apps.ready
loaded = sorted(name for name in sys.modules if name.startswith(("dsn_core.models", "django.contrib")))
assert loaded == [], loaded
try:
    Hello().render()
except Exception as error:
    print(type(error).__name__, error)
"""


def test_contracts_work_without_django_being_set_up() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    environment["PYTHONPATH"] = os.fspath(settings.BASE_DIR)
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ConfigurationError Message templates need Django to be set up")
