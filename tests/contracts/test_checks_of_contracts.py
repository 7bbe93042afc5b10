"""Classes that do not keep their contract are refused with a sentence that helps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from dsn_core import BaseMessageTemplate, BaseMessenger, BaseReceiverFilter, BaseReceiverResolver, Options, Receiver
from dsn_core.contracts.messengers import send_arguments
from dsn_core.exceptions import ContractError


def messenger(**attributes: object) -> type[BaseMessenger]:
    return type("Pager", (BaseMessenger,), {"send_messages": lambda self, messages: [], **attributes})


def template(**attributes: object) -> type[BaseMessageTemplate]:
    return type("Hello", (BaseMessageTemplate,), {"template_string": "hello", **attributes})


async def coroutine(self: object, *args: object) -> list[object]:
    return []


async def generator(self: object, *args: object) -> AsyncIterator[object]:
    yield None


async def seed_style(self: object, template: object, users: object) -> None:
    pass


class NoDataclass(Options):
    TOKEN: str = "x"


@pytest.mark.parametrize(
    ("cls", "sentence"),
    [
        (type("Empty", (BaseMessenger,), {}), "neither send_messages.. nor send.."),
        (messenger(name="with space"), "a name is 1 to 100 letters"),
        (messenger(name="x" * 101), "a name is 1 to 100 letters"),
        (messenger(parts=("subject", "body")), "lists one or more of subject, text, html"),
        (messenger(parts=()), "lists one or more of"),
        (messenger(batch_size=0), "whole number from 1"),
        (messenger(Options=NoDataclass), "is no dataclass"),
        (messenger(Options=dict), "subclass of dsn_core.Options"),
        (messenger(send=lambda self, template, users, colour: None), "asks for colour"),
        (template(template_string=""), "has no source"),
        (template(required_signal_args="movie"), r"it is a list of names: \['movie'\]"),
        (template(engine="jinja"), "it is one of django, jinja2"),
        (messenger(send_messages=coroutine), r"Pager\.send_messages\(\) is async, and would never be awaited"),
        (messenger(send_messages=generator), r"send_messages\(\) is async"),
        (messenger(send=seed_style), r"send\(\) is async"),
        (messenger(send=classmethod(seed_style)), r"send\(\) is async"),
        (type("R", (BaseReceiverResolver,), {"resolve": coroutine}), r"resolve\(\) is async"),
        (type("R", (BaseReceiverResolver,), {"resolve": generator}), r"resolve\(\) is async"),
        (type("F", (BaseReceiverFilter,), {"exclude": coroutine}), r"exclude\(\) is async"),
        (type("R", (BaseReceiverResolver,), {}), r"overrides no resolve\(\)"),
        (type("F", (BaseReceiverFilter,), {}), r"overrides no exclude\(\)"),
    ],
)
def test_a_broken_class_is_refused(cls, sentence: str) -> None:
    with pytest.raises(ContractError, match=sentence):
        cls.check_contract()


def test_sound_classes_pass() -> None:
    @dataclass(frozen=True, kw_only=True)
    class PagerOptions(Options):
        NUMBER: int = 1

    messenger(Options=PagerOptions).check_contract()
    template(template_string="", html="<p>x</p>").check_contract()
    type("Own", (BaseMessageTemplate,), {"render": lambda self, *args: "x"}).check_contract()


def test_names_and_descriptions_have_defaults() -> None:
    class Pager(BaseMessenger):
        """Sends to the pager.

        More.
        """

    class Child(Pager):
        name = "child"

    assert (Pager.name, Pager.description) == ("Pager", "Sends to the pager.")
    assert (Child.name, Child.description) == ("child", "")


@pytest.mark.parametrize(
    ("send", "taken"),
    [
        (classmethod(lambda self, template, users, trigger_context, signal_kwargs: None),
         ("template", "users", "trigger_context", "signal_kwargs")),
        (lambda self, template, sender, users, trigger_context, signal_kwargs: None,
         ("template", "sender", "users", "trigger_context", "signal_kwargs")),
        (staticmethod(lambda template, users: None), ("template", "users")),
        (lambda self, template, **rest: None, ("template", "sender", "users", "trigger_context", "signal_kwargs")),
    ],
)  # fmt: skip
def test_send_is_given_what_it_takes(send, taken: tuple[str, ...]) -> None:
    cls = messenger(send=send)
    cls.check_contract()
    assert cls.sends_itself
    assert send_arguments(cls()) == taken


@pytest.mark.parametrize("attributes", [{"concurrent": True}, {"stop": lambda self: None}])
def test_a_concurrent_messenger_declares_it_and_can_be_stopped(attributes: dict[str, Any]) -> None:
    with pytest.raises(ContractError, match=r"stop\(\)"):
        messenger(**attributes).check_contract()
    messenger(concurrent=True, stop=lambda self: None).check_contract()


def send(self: Any, template: Any, users: Any) -> None:
    pass


def addresses(self: Any, users: Any) -> dict[Any, str]:
    return {}


@pytest.mark.parametrize(("capability", "method"), [("sends_itself", send), ("finds_addresses", addresses)])
def test_what_a_class_defines_it_can_unless_it_declares_otherwise(capability: str, method: Any) -> None:
    name = method.__name__
    defining = messenger(**{name: method})
    declining = messenger(**{name: method, capability: False})
    mixed_in = type("Mixed", (type("Mixin", (), {name: method}), messenger()), {})
    for cls, can in (
        (messenger(), False),
        (defining, True),
        (type("Child", (defining,), {}), True),
        (type("Child", (defining,), {capability: False}), False),
        (declining, False),
        (type("Child", (declining,), {}), False),
        (type("Child", (declining,), {name: method}), True),
        (mixed_in, True),
    ):
        assert getattr(cls, capability) is can
        cls.check_contract()


@pytest.mark.parametrize("capability", ["sends_itself", "finds_addresses", "concurrent"])
def test_what_a_class_declares_it_also_defines(capability: str) -> None:
    with pytest.raises(ContractError, match=f"declares {capability} = True, and does not override"):
        messenger(**{capability: True}).check_contract()


def test_a_helper_called_send_is_no_way_to_send_without_the_usual_one() -> None:
    helper = type("Helper", (BaseMessenger,), {"send": send, "sends_itself": False})
    with pytest.raises(ContractError, match="send_messages"):
        helper.check_contract()
    # Of the seed's way is what defines send alone: nothing is declared.
    seed = type("Seed", (BaseMessenger,), {"send": send})
    seed.check_contract()
    assert seed.sends_itself


def test_setting_batch_size_counts_even_to_the_default() -> None:
    assert not messenger().sets_batch_size()
    assert messenger(batch_size=100).sets_batch_size()
    assert type("Child", (messenger(batch_size=100),), {}).sets_batch_size()


def test_a_receiver_is_a_user_or_an_address() -> None:
    for wrong in ({}, {"user": object(), "address": "x"}):
        with pytest.raises(ValueError, match="exactly one"):
            Receiver(**wrong)
