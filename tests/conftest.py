"""What the tests of several steps share: a signal, three people, and a subscription that brings them together."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.dispatch import Signal

from dsn_core import BaseMessageTemplate, SignalRegistration

#: A signal of the tests' own. It may carry anything.
happened = Signal()


class Plain(BaseMessageTemplate):
    """Says who gets it."""

    name = "plain"
    subject = "Hello {{ user.username }}"
    text = "{{ verb }} {{ value }}"


@pytest.fixture
def signals(dsn: Any) -> Any:
    """The harness, with the verb ``happened`` and the message template ``plain``."""
    dsn.add(SignalRegistration("happened", happened), Plain)
    return dsn


@pytest.fixture
def people(db: None) -> list[Any]:
    """Three users: ann, bob, cyd."""
    from django.contrib.auth.models import User

    return [User.objects.create_user(name, f"{name}@example.org") for name in ("ann", "bob", "cyd")]


@pytest.fixture
def subscribe(signals: Any, db: None) -> Callable[..., Any]:
    """Subscribe to ``happened`` as given, and return the subscription."""
    from dsn_core.models import Trigger

    def make(name: str = "", *, target: str = "", **given: Any) -> Any:
        given.setdefault("backends", [("memory", "plain")])
        return Trigger.objects.define("happened", target=target).subscribe(name, **given)

    return make


@pytest.fixture
def fire(monkeypatch: pytest.MonkeyPatch) -> Callable[..., uuid.UUID | None]:
    """Send ``happened``, and leave its event to ``dsn.run()``."""
    from dsn_core import emit

    def send(**arguments: Any) -> uuid.UUID | None:
        return emit("happened", **arguments)

    return send


@pytest.fixture
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what counts queries: without those that come once in a while, which a busy machine has more of."""
    monkeypatch.setattr("dsn_core.fanout.expander.NOTE_SECONDS", 3_600)
    monkeypatch.setattr("dsn_core.sending.handing_over.LOOK_SECONDS", 3_600)


@pytest.fixture
def workers_runner(settings: Any) -> None:
    """Nothing is sent until a test says so. The folders of the steps have it for all of their tests."""
    settings.DSN = {"RUNNER": "worker"}
