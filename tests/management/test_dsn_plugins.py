from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import call_command
from django.db import connection

from dsn_core.management.commands import dsn_plugins
from dsn_core.models import Subscription
from dsn_core.plugins import inventory
from dsn_core.triggers.dispatch import trigger_cache
from tests.plugins.fakes import Site, make_site, messenger_source

if TYPE_CHECKING:
    from pytest_django import Settings

TOKEN = "TOKEN: str = secret()"
LISTS = [
    "messengers",
    "message_templates",
    "receiver_resolvers",
    "receiver_filters",
    "signals",
    "runners",
]

Run = Callable[..., str]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with make_site(tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
def run(site: Site, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command over what is installed now. No test here may touch the database."""

    def run(*arguments: str, **options: Any) -> str:
        monkeypatch.setattr(dsn_plugins, "registry", site.load())
        out = StringIO()
        call_command("dsn_plugins", *arguments, stdout=out, no_color=True, **options)
        return out.getvalue()

    return run


def section(output: str, name: str) -> str:
    """What is said of the plugin ``name``."""
    (found,) = [part for part in output.split("\n\n") if part.startswith(f"{name}: ")]
    return found


def test_a_plugin_is_shown_with_its_distribution_and_what_it_brings(site: Site, run: Run) -> None:
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager"), version="2.3")

    assert section(run(), "pager") == (
        "pager: active\n  acme-pager 2.3, entry point\n  Messengers\n    pager: ready. Sends by pager."
    )


def test_the_built_in_plugin_shows_every_kind(run: Run) -> None:
    found = section(run(), "builtin")

    assert "built in" in found
    assert "    console: ready. Prints messages" in found
    assert "    simple: ready" in found
    assert "  Receiver resolvers\n    path: ready" in found
    assert "  Signals\n    pre_init: A model instance is about to be made.\n" in found
    assert "    immediate: ready, in use\n" in found


def test_what_a_messenger_lacks_is_said_after_its_name(site: Site, run: Run) -> None:
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager", options=TOKEN))

    output = run()

    assert "    pager: TOKEN is missing\n      Sends by pager." in output
    assert "1 not configured. 'manage.py check --deploy' says\n  what to do." in output


def test_accounts_are_shown_under_their_messengers_plugin(site: Site, settings: Settings, run: Run) -> None:
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager", options=TOKEN))
    settings.DSN = {"MESSENGERS": {"day": {"MESSENGER": "pager", "TOKEN": "hush"}, "night": {"MESSENGER": "pager"}}}

    output = run()

    found = section(output, "pager")
    assert "    pager: not used itself (TOKEN is missing)" in found
    assert "    day: ready. An account of pager." in found
    assert "    night: TOKEN is missing\n      An account of pager." in found
    assert "hush" not in output


def test_a_name_that_is_redirected_to_another_messenger_says_so(site: Site, settings: Settings, run: Run) -> None:
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager", options=TOKEN))
    settings.DSN = {"MESSENGERS": {"pager": {"MESSENGER": "console"}}}

    output = run("--check")

    assert "    pager: ready. An account of console." in section(output, "builtin")
    said = " ".join(section(output, "pager").split())
    assert "pager: not used itself (DSN['MESSENGERS']['pager'] makes this name an account of 'console')" in said


def test_what_is_not_active_says_why(site: Site, settings: Settings, run: Run) -> None:
    site.distribution("acme-one", {"one": "acme_one"}, messenger_source("one"))
    site.distribution("acme-two", {"two": "acme_two"}, messenger_source("two"))
    site.distribution("acme-bad", {"bad": "acme_bad"}, "raise OSError('no disk')")
    settings.DSN = {"DISABLED_PLUGINS": ["one"], "PLUGINS": ["one", "bad"]}

    output = run()

    assert section(output, "one").splitlines()[::2] == [
        "one: disabled",
        "  It is listed in DSN['DISABLED_PLUGINS'].",
    ]
    assert section(output, "two").startswith("two: not allowed\n  acme-two 1.0, entry point\n")
    bad = section(output, "bad")
    assert bad.startswith("bad: broken\n")
    assert "  ! importing acme_bad raised OSError: no disk (acme_bad.py:6).\n" in bad
    assert "DSN['DISABLED_PLUGINS']" in bad
    assert re.search(r"^\d+ plugins, 1 with errors; 0 not configured\.", output, re.MULTILINE)


def test_every_line_fits_into_80_columns(site: Site, settings: Settings, run: Run) -> None:
    long = "a_messenger_with_quite_a_name_" * 3
    site.distribution("acme-long-name-of-a-distribution", {long: "acme_long"}, messenger_source(long, options=TOKEN))
    site.distribution("acme-bad", {"bad": "acme_bad"}, f"raise OSError('{'no disk ' * 30}', '{'x' * 200}')")
    settings.DSN = {"MESSENGERS": {"an-account": {"MESSENGER": long, "NO_SUCH_OPTION_" * 9: 1}}, "RUNER": 1}

    for verbosity in (1, 2):
        assert max(map(len, run(verbosity=verbosity).splitlines())) < 80


def test_json_is_the_structure_that_programs_rest_on(site: Site, settings: Settings, run: Run) -> None:
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager", options=TOKEN))
    site.app("cinema", messenger_source("reel"))
    settings.DSN = {"MESSENGERS": {"night": {"MESSENGER": "pager", "TOKEN": "hush"}}}

    output = run("--format", "json")

    data = json.loads(output)
    assert list(data) == ["plugins"]
    plugins = {plugin["name"]: plugin for plugin in data["plugins"]}
    for plugin in plugins.values():
        assert list(plugin) == ["name", "distribution", "version", "source", "state", "reason", *LISTS]
        for name in LISTS:
            for item in plugin[name]:
                assert list(item) == ["name", "description", "ready", "reason"]
    assert plugins["pager"] == {
        "name": "pager",
        "distribution": "acme-pager",
        "version": "1.0",
        "source": "entry_point",
        "state": "active",
        "reason": "",
        "messengers": [
            {"name": "pager", "description": "Sends by pager.", "ready": False, "reason": "TOKEN is missing"},
            {"name": "night", "description": "An account of pager.", "ready": True, "reason": ""},
        ],
        "message_templates": [],
        "receiver_resolvers": [],
        "receiver_filters": [],
        "signals": [],
        "runners": [],
    }
    cinema = plugins["cinema"]
    assert (cinema["source"], cinema["distribution"], cinema["version"]) == ("app", None, None)
    builtin = plugins["builtin"]
    assert (builtin["source"], builtin["distribution"]) == ("builtin", "dsn-core")
    assert "post_save" in [signal["name"] for signal in builtin["signals"]]
    assert "hush" not in output


def test_a_duplicate_name_is_a_reason_in_json(site: Site, run: Run) -> None:
    site.distribution("acme-one", {"one": "acme_one"}, messenger_source("pager"))
    site.distribution("acme-two", {"two": "acme_two"}, messenger_source("pager"))

    plugins = {plugin["name"]: plugin for plugin in json.loads(run("--format", "json"))["plugins"]}

    assert (plugins["two"]["state"], plugins["two"]["messengers"]) == ("active", [])
    assert "one (acme-one 1.0)" in plugins["two"]["reason"]


def test_check_is_content_when_all_is_in_order(site: Site, run: Run) -> None:
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager"))

    assert "all in order" in run("--check")


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    "source",
    [
        pytest.param("1 / 0", id="broken"),
        pytest.param("@hookimpl\ndef dsn_mesengers(): return []", id="misspelt"),
        pytest.param(messenger_source("console"), id="duplicate"),
        pytest.param(messenger_source("pager", options=TOKEN), id="unconfigured"),
        pytest.param(
            "class Note(BaseMessageTemplate): text = '{% if %}'\n@hookimpl\ndef dsn_message_templates(): return [Note]",
            id="template",
        ),
        pytest.param(
            messenger_source("pager", "check = classmethod(lambda cls, options: [Error('no', id='acme.E001')])"),
            id="own check",
        ),
    ],
)
def test_check_exits_with_1_when_something_is_broken_or_not_configured(
    site: Site, run: Run, source: str, form: str
) -> None:
    site.distribution("acme-pager", {"pager": "acme_pager"}, source)
    run("--format", form)

    with pytest.raises(SystemExit) as caught:
        run("--check", "--format", form)
    assert caught.value.code == 1


def test_check_exits_with_1_when_the_setting_is_unusable(settings: Settings, run: Run) -> None:
    settings.DSN = "postgres://somewhere"

    assert "The setting DSN is str" in run()
    with pytest.raises(SystemExit):
        run("--check")


def test_what_a_messenger_merely_warns_of_leaves_it_ready(site: Site, run: Run) -> None:
    check = "check = classmethod(lambda cls, options: [Warning('It is slow.', id='acme.W001'), Info('hm', id='a.I1')])"
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager", check))

    assert "    pager: ready (It is slow)\n" in run("--check")


def test_what_is_silenced_is_not_said(site: Site, settings: Settings) -> None:
    check = "check = classmethod(lambda cls, options: [Error('no', id='acme.E001')])"
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager", check))
    settings.SILENCED_SYSTEM_CHECKS = ["acme.E001"]

    (entry,) = [item for item in inventory.take(site.load()) if item.name == "pager"]

    (item,) = entry.items["messengers"]
    assert (item.ready, item.reason) == (True, "")


def test_a_description_of_any_type_is_one_line(site: Site, run: Run) -> None:
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager", "description = None"))
    site.distribution("acme-fax", {"fax": "acme_fax"}, messenger_source("fax", "description = 'two\\n lines'"))

    output = run()

    assert "    pager: ready\n" in output
    assert "    fax: ready. two lines\n" in output


def test_colours_are_only_added(site: Site, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager", options=TOKEN))
    plain = run()
    out = StringIO()
    # As for a terminal; what a test writes to is none.
    call_command("dsn_plugins", stdout=out, force_color=True)

    coloured = out.getvalue()
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain


@pytest.mark.django_db(transaction=True)
def test_check_says_that_the_triggers_cannot_be_read(run: Run) -> None:
    with connection.schema_editor() as editor:
        editor.alter_db_table(Subscription, "dsn_core_subscription", "elsewhere")
    try:
        with pytest.raises(SystemExit):
            run("--check")
        assert trigger_cache.problem
    finally:
        with connection.schema_editor() as editor:
            editor.alter_db_table(Subscription, "elsewhere", "dsn_core_subscription")
        trigger_cache.refresh(force=True)
    assert not trigger_cache.problem
