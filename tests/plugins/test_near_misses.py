"""Attributes that nothing would read are named with the nearest right one, and helpers of the author's own are not."""

from __future__ import annotations

import functools
import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from dsn_core import (
    BaseCodec,
    BaseMessageTemplate,
    BaseMessenger,
    BaseReceiverFilter,
    BaseReceiverResolver,
    BaseRunner,
)
from dsn_core.checks.installed import check_plugins
from dsn_core.contracts.near_misses import near_misses
from dsn_core.plugins.kinds import KINDS, SIGNALS
from tests.plugins.fakes import Site, messenger_source, plugin


def method(self: Any, *args: Any) -> None:
    pass


MISSES = [
    (BaseMessenger, {"retry_unknwon": True}, "retry_unknown"),
    (BaseMessenger, {"adress_path": "profile.phone"}, "address_path"),
    (BaseMessenger, {"address": method}, "addresses"),
    (BaseMessenger, {"send_message": method}, "send_messages"),
    (BaseMessenger, {"batchsize": 7}, "batch_size"),
    (BaseMessenger, {"Option": type("Option", (), {})}, "Options"),
    (BaseMessenger, {"checks": classmethod(method)}, "check"),
    (BaseMessageTemplate, {"filename": "a.html"}, "file_name"),
    (BaseMessageTemplate, {"required_signal_arguments": ["a"]}, "required_signal_args"),
    (BaseMessageTemplate, {"get_context": None, "get_template_contex": method}, "get_template_context"),
    (BaseReceiverResolver, {"resolve_": method}, "resolve"),
    (BaseReceiverResolver, {"check_arguments": method}, "check_argument"),
    (BaseReceiverFilter, {"excludes": method}, "exclude"),
    (BaseRunner, {"wakes": method}, "wake"),
    (BaseCodec, {"pythontype": int}, "python_type"),
    (BaseCodec, {"decode_": method}, "decode"),
]


@pytest.mark.parametrize(("base", "attributes", "meant"), MISSES)
def test_a_near_miss_is_named_for_each_kind(base: type, attributes: dict[str, Any], meant: str) -> None:
    if meant == "python_type":
        # A class is no value, so that it is not taken for one.
        attributes = {"pythontype": None}
    cls = type("Mine", (base,), attributes)
    assert [found for _, found in near_misses(cls, base)] == [meant]


def test_all_kinds_of_classes_are_looked_at() -> None:
    assert {base for base, _, _ in MISSES} == {kind.base for kind in KINDS if kind is not SIGNALS}


def test_what_stands_in_a_parent_of_the_author_is_found_too() -> None:
    class Mixin:
        adress_path = "x"

    class Mine(Mixin, BaseMessenger):
        pass

    assert list(near_misses(Mine, BaseMessenger)) == [("adress_path", "address_path")]


@pytest.mark.parametrize(
    "attributes",
    [
        {"_adress_path": "x"},
        # Beside the right name it is a helper.
        {"send_messages": method, "send_message": method},
        {"text": "a", "texts": ["a"]},
        # Far from every name, as those of Django's admin are.
        {"short_description": "x", "verbose_name": "x", "Meta": type("Meta", (), {}), "media": "x", "client": method},
        # Another sort of thing: no method is meant.
        {"address": "x"},
    ],
)
def test_names_of_the_author_s_own_are_no_near_misses(attributes: dict[str, Any]) -> None:
    for base in (BaseMessenger, BaseMessageTemplate):
        if not set(attributes) - set(dir(base)):
            continue
        assert list(near_misses(type("Mine", (base,), attributes), base)) == []


def test_what_the_class_itself_uses_is_a_helper() -> None:
    class Using(BaseMessenger):
        def send_messages(self, messages: Any) -> Any:
            return [self.address(message) for message in messages]

        def address(self, message: Any) -> None:
            pass

    class Decorated(BaseMessenger):
        partz = ("text",)

        @functools.cached_property
        def first(self) -> Any:
            return None

        @property
        def second(self) -> Any:
            return sorted(part for part in getattr(self, "partz", ()))

        def send_messages(self, messages: Any) -> Any:
            return []

    assert list(near_misses(Using, BaseMessenger)) == []
    assert list(near_misses(Decorated, BaseMessenger)) == []


def test_a_class_of_another_library_is_not_the_author_s() -> None:
    library = type("Library", (), {"adress_path": "x", "__module__": "another_library.base"})
    assert list(near_misses(type("Mine", (library, BaseMessenger), {}), BaseMessenger)) == []


def test_it_is_a_warning_and_the_plugin_works(site: Site) -> None:
    site.distribution("pager", {"pager": "pager_plugin"}, messenger_source("pager", "retry_unknwon = True"))
    registry = site.load()
    assert plugin(registry, "pager").state == "active"
    assert registry.messenger_class("pager").name == "pager"
    (warning,) = [message for message in check_plugins(registry) if message.id == "dsn.W011"]
    assert "its messenger pager has 'retry_unknwon'" in warning.msg
    assert "did you mean 'retry_unknown'?" in warning.msg
    assert warning.hint is not None
    assert warning.level == 30


def test_one_that_leaves_the_right_method_out_says_both(site: Site) -> None:
    source = """
class Pager(BaseMessenger):
    def send_mesages(self, messages):
        return []

@hookimpl
def dsn_messengers():
    return [Pager]
"""
    site.distribution("pager", {"pager": "pager_plugin"}, source)
    found = plugin(site.load(), "pager")
    assert found.state == "broken"
    assert "overrides neither send_messages() nor send()" in found.reason
    assert "It has 'send_mesages', which dsn-core does not read (did you mean 'send_messages'?)" in found.reason


def test_our_own_plugins_have_none() -> None:
    out = StringIO()
    call_command("dsn_plugins", format="json", stdout=out)
    assert "did you mean" not in json.dumps([found["reason"] for found in json.loads(out.getvalue())["plugins"]])
