"""Errors of plugins are said with their place, and logged whole without secrets."""

from __future__ import annotations

import importlib
import logging
import re
import sys
import traceback
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.dispatch import Signal

from dsn_core import SignalRegistration, emit, masking
from dsn_core.models import Delivery, Event, Trigger
from dsn_core.plugins import errors
from tests.plugins.fakes import make_site

CANARY = "canary-7f3a"

LIBRARY = """
def call():
    raise LookupError("no such thing")
"""
PLUGIN = """
from dsn_core import BaseMessenger, BaseMessageTemplate, BaseReceiverFilter, BaseReceiverResolver, Options, secret
from dataclasses import dataclass
import far_library


@dataclass(frozen=True, kw_only=True)
class Token(Options):
    TOKEN: str = secret(default="canary-7f3a")


class Sends(BaseMessenger):
    '''Sends.'''
    name = "sends"
    Options = Token

    def send_messages(self, messages):
        far_library.call()


class Addresses(BaseMessenger):
    '''Has addresses.'''
    name = "has_addresses"
    address_path = "email"

    def addresses(self, users):
        far_library.call()

    def send_messages(self, messages):
        return []


class Seed(BaseMessenger):
    '''The seed's way.'''
    name = "seed"

    def send(self, template, users, trigger_context, signal_kwargs):
        far_library.call()


class Leaks(BaseMessenger):
    '''Quotes its token.'''
    name = "leaks"
    Options = Token

    def send_messages(self, messages):
        try:
            far_library.call()
        except LookupError as error:
            raise ValueError(f"refused: {self.options.TOKEN}") from error


class Plain(BaseMessageTemplate):
    '''Says little.'''
    name = "plain"
    text = "hello"


class Context(BaseMessageTemplate):
    '''Raises before it renders.'''
    name = "context"
    text = "hello"

    def get_template_context(self, context):
        far_library.call()


class InJinja(BaseMessageTemplate):
    '''Raises in a file of Jinja2.'''
    name = "in_jinja"
    file_name = "faulty/jinja.txt"


class InDjango(BaseMessageTemplate):
    '''Raises in a file of Django's.'''
    name = "in_django"
    engine = "django"
    file_name = "faulty/django.txt"


class Filter(BaseReceiverFilter):
    '''Raises.'''
    name = "faulty"

    def exclude(self, deliveries):
        if any(row.messenger == "filtered" for row in deliveries):
            far_library.call()
        return {}


class Resolver(BaseReceiverResolver):
    '''Raises.'''
    name = "faulty"

    def resolve(self, event, argument):
        far_library.call()
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dsn: Any, settings: Any) -> ModuleType:
    """A plugin in files of its own, all of whose parts raise by way of a library."""
    from dsn_core.rendering import install_engines

    settings.DSN = {"RUNNER": "worker"}
    (tmp_path / "far_library.py").write_text(LIBRARY)
    (tmp_path / "faulty_plugin").mkdir()
    (tmp_path / "faulty_plugin" / "__init__.py").write_text(PLUGIN)
    folder = tmp_path / "templates" / "faulty"
    folder.mkdir(parents=True)
    (folder / "jinja.txt").write_text("one\ntwo\n{{ thing.call() }}\n")
    (folder / "django.txt").write_text("one\n{% if thing %}\nthree\n{% widthratio thing.call 1 x %}{% endif %}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path / "templates"]}]
    install_engines()
    importlib.invalidate_caches()
    module = importlib.import_module("faulty_plugin")
    for name in ("faulty_plugin", "far_library"):
        # It comes from another folder for the next test.
        del sys.modules[name]
    dsn.add(SignalRegistration("happened", Signal()), *(item for item in vars(module).values() if _is_part(item)))
    return module


def _is_part(item: Any) -> bool:
    return isinstance(item, type) and item.__module__ == "faulty_plugin" and item.__name__ != "Token"


def line_of(source: str, words: str, after: str) -> int:
    """The number of the line with ``words`` that comes after one with ``after``."""
    lines = source.splitlines()
    start = next(number for number, line in enumerate(lines) if after in line)
    return next(number for number, line in enumerate(lines, 1) if number > start and words in line)


def place(after: str) -> str:
    return f"faulty_plugin/__init__.py:{line_of(PLUGIN, 'far_library.call()', after)}"


class Thing:
    def call(self) -> None:
        raise LookupError("no such thing")


@pytest.fixture
def sent(plugin: ModuleType, dsn: Any, db: None, django_user_model: Any) -> Callable[..., str]:
    """Send by a messenger and template; returns the reason that was stored."""

    def send(messenger: str, template: str = "plain", **given: Any) -> str:
        user = django_user_model.objects.create_user("ann", "ann@example.org")
        Trigger.objects.define("happened").subscribe(users=[user], backends=[(messenger, template)], **given)
        emit("happened", thing=1)
        dsn.run()
        return str(Delivery.objects.get().last_error)

    return send


def told(caplog: pytest.LogCaptureFixture, kind: type = LookupError) -> logging.LogRecord:
    """The one record of the log that has the traceback."""
    (record,) = [item for item in caplog.records if item.exc_info and item.exc_info[0].__name__ == kind.__name__]
    return record


@pytest.mark.parametrize(
    ("messenger", "after"), [("sends", "class Sends"), ("has_addresses", "class Addresses"), ("seed", "class Seed")]
)
def test_what_a_messenger_raises_ends_with_its_own_line(messenger: str, after: str, sent: Any, caplog: Any) -> None:
    assert sent(messenger).endswith(f"LookupError: no such thing ({place(after)})")
    assert "far_library.py" in "".join(traceback.format_exception(*told(caplog).exc_info))


def test_what_a_template_class_raises_ends_with_its_own_line(sent: Any, caplog: Any) -> None:
    assert sent("memory", "context").endswith(f"({place('class Context')})")
    assert told(caplog)


@pytest.mark.parametrize(
    ("template", "said"), [("in_jinja", "faulty/jinja.txt:3"), ("in_django", "faulty/django.txt:4")]
)
def test_what_is_raised_in_a_template_ends_with_the_templates_line(
    template: str, said: str, sent: Any, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dsn_core import BaseMessageTemplate

    own = BaseMessageTemplate.variables
    monkeypatch.setattr(BaseMessageTemplate, "variables", lambda self, *given: {**own(self, *given), "thing": Thing()})
    assert sent("memory", template).endswith(f"LookupError: no such thing (templates/{said})")
    assert told(caplog)


@pytest.mark.parametrize(
    ("engine", "source", "line"),
    [("jinja2", "one\ntwo {% if %}\n", 2), ("django", "one\ntwo\n{% if ( %}{% endif %}\n", 3)],
)
def test_a_template_that_cannot_be_parsed_names_its_line(
    engine: str, source: str, line: int, plugin: ModuleType, tmp_path: Path, sent: Any, dsn: Any
) -> None:
    from dsn_core import BaseMessageTemplate

    (tmp_path / "templates" / "broken.txt").write_text(source)
    dsn.add(type("Broken", (BaseMessageTemplate,), {"name": "broken", "engine": engine, "file_name": "broken.txt"}))
    assert sent("memory", "broken").endswith(f"(templates/broken.txt:{line})")


def test_what_a_filter_raises_ends_with_its_own_line(sent: Any, dsn: Any, caplog: Any) -> None:
    from dsn_core.testing import MemoryMessenger

    dsn.add(type("Filtered", (MemoryMessenger,), {"name": "filtered"}))
    assert sent("filtered").endswith(f"({place('class Filter')})")
    assert told(caplog)


def test_what_a_resolver_raises_ends_with_its_own_line(plugin: ModuleType, dsn: Any, db: None, caplog: Any) -> None:
    Trigger.objects.define("happened").subscribe(resolver="faulty", backends=[("memory", "plain")])
    emit("happened")
    dsn.run()
    assert Event.objects.get().last_error.endswith(f"({place('class Resolver')})")
    assert told(caplog)


def test_a_secret_is_masked_in_the_log_with_what_led_to_it(sent: Any, caplog: Any) -> None:
    assert "ValueError: refused: ***" in sent("leaks")
    record = told(caplog, ValueError)
    whole = "".join(traceback.format_exception(*record.exc_info))
    assert CANARY not in whole + caplog.text
    assert "ValueError: refused: ***" in whole
    assert "LookupError: no such thing" in whole
    assert "far_library.py" in whole


def test_an_import_error_names_the_nested_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    with make_site(tmp_path, monkeypatch) as site:
        site.module("outer_plugin.plugin", "import outer_plugin.inner\n")
        site.module("outer_plugin.inner", "x = 1\nimport no_such_library\n")
        inner = (tmp_path / "outer_plugin" / "inner.py").read_text()
        site.module("torn_plugin", "x = (\n")
        site.distribution("dsn-outer", {"outer": "outer_plugin.plugin", "torn": "torn_plugin"})
        registry = site.load()
    faults = {plugin.name: plugin.faults[0].message for plugin in registry.plugins if plugin.faults}
    line = inner[: inner.index("import no_such")].count("\n") + 1
    assert faults["outer"].endswith(f"outer_plugin/inner.py:{line})")
    assert re.search(r"torn_plugin\.py:\d+\)$", faults["torn"])
    assert told(caplog, ModuleNotFoundError)


def test_dsn_send_shows_it_whole_when_it_is_asked_to(plugin: ModuleType, db: None) -> None:
    with pytest.raises(CommandError) as raised:
        call_command("dsn_send", "sends", "ann", "hello", stdout=StringIO())
    assert str(raised.value).endswith(f"({place('class Sends')})")
    assert "far_library.py" in "".join(traceback.format_exception(raised.value))
    with pytest.raises(CommandError) as raised:
        call_command("dsn_send", "leaks", "ann", "hello", stdout=StringIO())
    assert CANARY not in "".join(traceback.format_exception(raised.value))


def test_a_stand_in_keeps_the_name_the_notes_and_the_chain() -> None:
    class Own(KeyError):
        pass

    try:
        try:
            raise OSError(f"to {CANARY}")
        except OSError as first:
            first.add_note(f"note of {CANARY}")
            raise Own(CANARY) from first
    except Own as error:
        shown = masking.masked(error, lambda text: text.replace(CANARY, "***"))
        is_itself = masking.masked(error) is error
    assert is_itself, "where nothing is to be hidden"
    whole = "".join(traceback.format_exception(shown))
    assert CANARY not in "".join(str(item) for item in (shown, shown.__cause__, shown.__cause__.__notes__))
    assert "Own" in whole
    assert "note of ***" in whole
    assert shown.__traceback__ is not None


def test_the_place_is_kept_however_much_is_said() -> None:
    try:
        raise ValueError("x" * 100_000)
    except ValueError as error:
        said, place = errors.told(error), errors.where(error)
    assert len(said) < 2_000
    assert "test_errors.py:" in place
    assert said.endswith(f"({place})")
