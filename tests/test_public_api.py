"""The public names, in one place: a change of this list changes the API for plugins."""

from __future__ import annotations

import inspect
import typing

import pytest

import dsn_core
from dsn_core import hookspecs, models, testing

PUBLIC = [
    "ActivityView",
    "BackendView",
    "BaseCodec",
    "BaseMessageTemplate",
    "BaseMessenger",
    "BaseReceiverFilter",
    "BaseReceiverResolver",
    "BaseRunner",
    "DeliveryView",
    "EventInfo",
    "Hold",
    "Message",
    "Options",
    "Outcome",
    "Receipt",
    "Receiver",
    "SignalRegistration",
    "acting",
    "aemit",
    "aemit_many",
    "due_messengers",
    "emit",
    "emit_many",
    "expand_due",
    "find_users",
    "hookimpl",
    "muted",
    "record_report",
    "refresh",
    "register_signal",
    "secret",
    "send_due",
    "store_address",
]


def test_public_names():
    assert dsn_core.__all__ == PUBLIC


@pytest.mark.parametrize("name", [name for name in PUBLIC if name != "hookimpl"])
def test_public_names_are_documented(name):
    documented = getattr(dsn_core, name)
    assert inspect.getdoc(documented), f"{name} has no docstring"
    if inspect.isclass(documented):
        undocumented = [
            method
            for method, function in vars(documented).items()
            if inspect.isroutine(inspect.unwrap(getattr(documented, method)))
            and not method.startswith("_")
            and not inspect.getdoc(getattr(documented, method))
        ]
        assert undocumented == []


def test_models():
    assert set(models.__all__) >= {"Trigger", "Backend", "Subscription", "Event", "Delivery"}
    assert [str(status) for status in models.Delivery.Status] == [
        "pending",
        "sending",
        "sent",
        "retry",
        "failed",
        "skipped",
        "unknown",
        "cancelled",
    ]


def test_every_hook_says_what_it_is_for_in_one_line():
    for name, function in vars(hookspecs).items():
        if name.startswith("dsn_"):
            assert inspect.getdoc(function), name
            assert "\n" not in inspect.getdoc(function), f"{name}: one line"
            assert "return" in typing.get_type_hints(function, vars(hookspecs)), name


def test_testing_names():
    assert [name for name in testing.__all__ if not hasattr(testing, name)] == []
