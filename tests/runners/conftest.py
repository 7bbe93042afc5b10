"""What the tests of the runners share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.dispatch import Signal

from dsn_core import SignalRegistration

happened = Signal()


@pytest.fixture
def signals(dsn: Any) -> Any:
    """The harness, with the verb ``happened``."""
    dsn.add(SignalRegistration("happened", happened))
    return dsn


@pytest.fixture
def ann(transactional_db: None) -> Any:
    from django.contrib.auth.models import User

    return User.objects.create_user("ann", "ann@example.org")


@pytest.fixture
def subscribe(signals: Any, ann: Any) -> Callable[..., Any]:
    """Subscribe ann (or whom is given) to ``happened``."""
    from dsn_core.models import Trigger

    def make(messenger: str = "memory", **given: Any) -> Any:
        if "resolver" not in given:
            given.setdefault("users", [ann])
        return Trigger.objects.define("happened").subscribe(messenger, backends=[(messenger, "simple")], **given)

    return make


@pytest.fixture
def people(ann: Any) -> list[Any]:
    """Three users: ann, bob, cyd."""
    from django.contrib.auth.models import User

    return [ann, *(User.objects.create_user(name, f"{name}@example.org") for name in ("bob", "cyd"))]
