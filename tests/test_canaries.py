"""Secrets of the settings stand in no frame of an error, whatever layer it comes from.

Each class of a plugin here raises when it is called, and looks before that at all frames of dsn-core that called
it: what an error report (Django's, or one of a service) would print of their local variables.
"""

from __future__ import annotations

import pprint
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

import pytest
from django.contrib.auth.models import User
from django.core import checks
from django.core.management import CommandError, call_command
from django.dispatch import Signal

import dsn_core
from dsn_core import (
    BaseCodec,
    BaseMessageTemplate,
    BaseMessenger,
    BaseReceiverFilter,
    BaseReceiverResolver,
    BaseRunner,
    Options,
    SignalRegistration,
    conf,
    emit,
    secret,
)
from dsn_core.exceptions import DSNError
from dsn_core.masking import hide, reveal
from dsn_core.models import Trigger
from dsn_core.plugins.registry import registry

CANARY = "canary-7f3a"
CORE = str(Path(dsn_core.__file__).parent)
happened = Signal()


class Sightings:
    """Which layers raised, and where a canary stood."""

    def __init__(self) -> None:
        self.raised: set[str] = set()
        self.frames = 0
        self.leaks: list[str] = []

    def raise_from(self, layer: str) -> None:
        self.raised.add(layer)
        self.look(_callers(sys._getframe(1)))
        raise RuntimeError(f"provoked in {layer}")

    def look(self, frames: Iterable[FrameType]) -> None:
        for frame in frames:
            if not frame.f_code.co_filename.startswith(CORE):
                continue
            self.frames += 1
            for name, value in frame.f_locals.items():
                if any("canary" in text for text in shown(value)):
                    place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                    self.leaks.append(f"{name} in {frame.f_code.co_name}, {place}")

    def look_at(self, error: BaseException | None) -> None:
        while error is not None:
            self.look(frame for frame, _line in traceback.walk_tb(error.__traceback__))
            assert "canary" not in str(error)
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _callers(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def shown(value: Any, depth: int = 0) -> Iterator[str]:
    """``value`` as reports print it: its ``repr``, ``pprint``'s, and those of what is in dicts and lists."""
    try:
        yield repr(value)
        yield pprint.pformat(value)
    except Exception:
        return
    if depth < 4 and isinstance(value, Mapping):
        for item in value.values():
            yield from shown(item, depth + 1)
    elif depth < 4 and isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from shown(item, depth + 1)


seen = Sightings()


class Money:
    pass


class Codec(BaseCodec):
    name = "money"
    python_type = Money

    def encode(self, value: Any) -> Any:
        seen.raise_from("payload")

    def decode(self, data: Any) -> Any:
        raise AssertionError("nothing was encoded")


@dataclass(frozen=True, kw_only=True)
class Given(Options):
    TOKEN: str = secret()
    KEYS: Mapping[str, str] = secret(default=None)
    RAW: bytes = secret(default=b"")
    PLACE: str = "here"


class Pager(BaseMessenger):
    name = "pager"
    Options = Given
    fails: ClassVar[str] = ""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        if self.fails == "making":
            seen.raise_from("making a messenger")

    def addresses(self, users: Any) -> Any:
        if self.fails == "addresses":
            seen.raise_from("addresses")
        return dict.fromkeys((user.pk for user in users), "there")

    def send_messages(self, messages: Any) -> Any:
        # The text is there where it is needed.
        assert f"Bearer {self.options.TOKEN}" == f"Bearer {CANARY}"
        seen.raise_from("sending")

    @classmethod
    def check(cls, options: Any) -> Any:
        seen.raise_from("check of a messenger")


class Caller(Pager):
    name = "caller"
    batch_size = 100

    def send(self, template: Any, users: Any, trigger_context: Any, signal_kwargs: Any) -> None:
        seen.raise_from("sending itself")


class Resolver(BaseReceiverResolver):
    name = "raising"

    def resolve(self, event: Any, argument: str) -> Any:
        seen.raise_from("fan-out")


class Filter(BaseReceiverFilter):
    name = "raising"
    active: ClassVar[bool] = False

    def exclude(self, deliveries: Any) -> Any:
        if self.active:
            seen.raise_from("filter")
        return {}


class Template(BaseMessageTemplate):
    name = "raising"
    text = "{{ verb }}"
    active: ClassVar[bool] = False

    def get_template_context(self, context: dict[str, Any]) -> dict[str, Any]:
        if self.active:
            seen.raise_from("rendering")
        return context


class Runner(BaseRunner):
    name = "raising"

    def wake(self, using: str) -> None:
        seen.raise_from("runner")

    @classmethod
    def check(cls) -> Any:
        seen.raise_from("check of a runner")


class Person:
    @property
    def name(self) -> str:
        seen.raise_from("condition")
        return ""


@pytest.fixture
def sightings(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Sightings:
    monkeypatch.setattr(sys.modules[__name__], "seen", found := Sightings())
    account = {"TOKEN": CANARY, "KEYS": {"eu": CANARY}, "RAW": CANARY.encode(), "PLACE": "there"}
    settings.DSN = {
        "RUNNER": "raising",
        "MESSENGERS": {"pager": account, "caller": account, "broken": {"MESSENGER": "pager", "TOKN": CANARY}},
    }
    return found


@pytest.fixture
def world(dsn: Any, sightings: Sightings) -> Any:
    registration = SignalRegistration("happened", happened)
    dsn.add(registration, Codec, Pager, Caller, Resolver, Filter, Template, Runner)
    return dsn


def subscribe(**given: Any) -> None:
    trigger = Trigger.objects.define("happened", target=given.pop("target", ""), conditions=given.pop("conditions", ()))
    trigger.subscribe(**given)


@pytest.mark.django_db(transaction=True)
def test_no_secret_stands_in_a_frame_of_dsn_core(
    world: Any, sightings: Sightings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    ann = User.objects.create(username="ann")
    subscribe(users=[ann], backends=[("pager", "raising"), ("caller", "raising")])
    subscribe(target="resolved", resolver="raising", backends=[("pager", "raising")])
    subscribe(target="conditions", conditions=[("person.name", "equals", "x")], backends=[("pager", "raising")])

    emit("happened", price=Money())
    emit("happened", target="resolved")
    emit("happened", target="conditions", person=Person())
    world.run()
    # Rendering last: what it fails with is for good.
    failing = [(Filter, "active", True), (Pager, "fails", "addresses"), (Pager, "fails", "making")]
    for cls, name, value in (*failing, (Template, "active", True)):
        with monkeypatch.context() as patch:
            patch.setattr(cls, name, value)
            world.run(retries=True)

    for message in checks.run_checks():
        assert "canary" not in str(message)
    for alias in ("pager", "broken", "absent"):
        with pytest.raises((CommandError, DSNError)) as caught:
            call_command("dsn_send", alias, "there", "Hello")
        sightings.look_at(caught.value)
    for alias in ("broken", "absent"):
        with pytest.raises(DSNError) as refused:
            registry.messenger(alias)
        sightings.look_at(refused.value)

    assert sightings.raised == {
        "payload", "runner", "fan-out", "condition", "sending", "sending itself", "filter", "rendering", "addresses",
        "making a messenger", "check of a messenger", "check of a runner",
    }  # fmt: skip
    assert sightings.frames > 100
    assert sightings.leaks == []
    assert "canary" not in caplog.text
    assert not any("canary" in delivery.last_error for delivery in world.deliveries)


@pytest.mark.django_db
def test_no_secret_stands_in_a_frame_of_the_intake_in_strict_mode(
    world: Any, sightings: Sightings, settings: Any
) -> None:
    settings.DSN = {**settings.DSN, "STRICT": True}
    subscribe(backends=[("pager", "raising")], conditions=[("person.name", "equals", "x")])
    with pytest.raises(RuntimeError) as caught:
        emit("happened", person=Person())
    sightings.look_at(caught.value)
    assert sightings.leaks == []


def test_the_configuration_prints_no_option(sightings: Sightings) -> None:
    current = conf.current()
    assert not any("canary" in text for text in shown(current))
    assert not any("canary" in text for text in shown(current.MESSENGERS))
    # Its text is there all the same.
    assert current.MESSENGERS["pager"]["TOKEN"] == CANARY
    assert current.MESSENGERS["pager"]["KEYS"] == {"eu": CANARY}


def test_options_hide_what_is_secret_and_show_the_rest(sightings: Sightings) -> None:
    for options in (
        Given(TOKEN=CANARY, KEYS={"eu": CANARY}, RAW=CANARY.encode(), PLACE="there"),
        Given.from_mapping(conf.current().MESSENGERS["pager"]),
    ):
        assert not any("canary" in text for name in ("TOKEN", "KEYS", "RAW") for text in shown(getattr(options, name)))
        assert repr(options.PLACE) == "'there'"
        assert (f"{options.TOKEN}", options.TOKEN.encode(), options.RAW) == (CANARY, CANARY.encode(), CANARY.encode())
        assert options.mask(f"refused {CANARY}") == "refused ***"


def test_a_change_of_the_setting_in_place_is_seen(settings: Any) -> None:
    settings.DSN = {"MESSENGERS": {"pager": {"KEYS": {"eu": "one"}}}}
    assert conf.current() is conf.current()
    settings.DSN["MESSENGERS"]["pager"]["KEYS"]["eu"] = "two"
    assert conf.current().MESSENGERS["pager"]["KEYS"]["eu"] == "two"


def test_options_under_a_wrong_name_are_not_shown(settings: Any) -> None:
    for name in ("RUNNER", "PLUGINS", "STRICT", "MAX_ATTEMPTS", "MESENGERS", "ADDRESSES"):
        settings.DSN = {name: {"pager": {"TOKEN": CANARY}}}
        assert "canary" not in repr(conf.problems())


@pytest.mark.parametrize(
    "value",
    ["text", b"bytes", 7, None, True, 1.5, {"a": ["x", ("y", {"z"})]}, ["a", b"b"], frozenset({"a"}), object()],
    ids=lambda value: type(value).__name__,
)
def test_what_is_hidden_can_be_revealed(value: Any) -> None:
    hidden = hide(value)
    assert hidden == value
    revealed = reveal(hidden)
    assert revealed == value
    assert type(revealed) is type(value)
    assert repr(revealed) == repr(value)
