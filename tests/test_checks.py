from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Tags, Warning, run_checks
from django.core.checks.registry import registry as registered
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connection

from dsn_core import BaseRunner
from dsn_core.checks import configuration, deployment, installed, stored
from dsn_core.models import Backend, Trigger
from dsn_core.plugins.registry import registry
from tests.plugins.fakes import Site, make_site, messenger_source
from tests.testapp.models import Movie, Ticket

if TYPE_CHECKING:
    from pytest_django import Settings

    from dsn_core.testing.harness import Harness

TEMPLATES = "@hookimpl\ndef dsn_message_templates(): return [Note]\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with make_site(tmp_path, monkeypatch) as made:
        yield made


def ids(messages: Iterable[CheckMessage]) -> list[str]:
    return [message.id or "" for message in messages]


def the(messages: Iterable[CheckMessage], id: str) -> CheckMessage:
    """The one message with this id, which has a way out."""
    (found,) = [message for message in messages if message.id == id]
    assert found.hint
    return found


def of_installed(site: Site) -> list[CheckMessage]:
    """What is said of a fresh registry."""
    return installed.check_plugins(site.load())


def of_deployment(site: Site) -> list[CheckMessage]:
    """What ``check --deploy`` says beyond that."""
    return deployment.check_deployment(site.load())


# The settings


def test_a_setting_that_is_right_has_no_findings(settings: Settings) -> None:
    settings.DSN = {"RUNNER": "worker", "REFRESH_SECONDS": 1, "PLUGINS": None, "MESSENGERS": {"console": {}}}

    assert configuration.check_settings() == []


@pytest.mark.parametrize("given", [["nmae", "id"], "nmae", ["Name"]])
def test_a_sensitive_field_that_is_misspelt_is_named(monkeypatch: pytest.MonkeyPatch, given: object) -> None:
    monkeypatch.setattr(Movie, "dsn_sensitive_fields", given, raising=False)
    message = the(configuration.check_models(), "dsn.W014")
    assert "which is no field of it (did you mean 'name'?)" in message.msg
    assert message.msg.startswith("testapp.Movie.dsn_sensitive_fields names ")


def test_sensitive_fields_may_be_named_by_their_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ticket, "dsn_sensitive_fields", ["movie_id", "price"], raising=False)
    assert configuration.check_models() == []


def test_a_dsn_that_is_a_text_is_an_error_that_does_not_show_it(settings: Settings) -> None:
    settings.DSN = "https://key:secret@sentry.example/1"

    found = the(configuration.check_settings(), "dsn.E001")

    assert "DSN is str, but dsn-core expects a dict" in found.msg
    assert "secret" not in str(found)


def test_an_unknown_setting_has_the_nearest_name(settings: Settings) -> None:
    settings.DSN = {"RUNER": "worker"}

    found = the(configuration.check_settings(), "dsn.E002")

    assert found.msg == "DSN['RUNER'] is not a setting of dsn-core (did you mean 'RUNNER'?)."


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("STRICT", "yes", "must be True or False, not 'yes'"),
        ("RUNNER", None, "must be a text, not None"),
        ("REFRESH_SECONDS", -1, "must be a number from 0 to 86400, not -1"),
        ("MAX_ATTEMPTS", 2.5, "must be a whole number from 1 to 32767, not 2.5"),
        ("MAX_ATTEMPTS", True, "must be a whole number from 1 to 32767, not True"),
        ("MAX_ATTEMPTS", 0, "must be a whole number from 1 to 32767, not 0"),
        ("LEASE_SECONDS", 0, "must be a number from 0.01 to 2592000, not 0"),
        ("LEASE_SECONDS", 10**12, "must be a number from 0.01 to 2592000, not 1000000000000"),
        ("REFRESH_SECONDS", float("inf"), "must be a number from 0 to 86400, not inf"),
        ("MAX_MESSAGE_BYTES", 0, "must be a whole number from 100 to 2147483647, not 0"),
        ("PLUGINS", "email", "must be a list of names, not 'email'"),
        ("DISABLED_PLUGINS", None, "must be a list of names, not None"),
        ("MESSENGERS", ["email"], "must be a dict, not list"),
        ("MESSENGERS", {"email": "secret"}, "must hold a dict of options under each name, which 'email' does not"),
        ("ADDRESSES", {"sms": 3}, "must hold a path such as 'profile.phone' under each name, which 'sms' does not"),
    ],
)
def test_a_value_that_cannot_be_used_is_an_error(settings: Settings, name: str, value: object, said: str) -> None:
    settings.DSN = {name: value}

    (found,) = configuration.check_settings()

    assert (found.id, found.msg) == ("dsn.E003", f"DSN[{name!r}] {said}.")


def test_a_runner_that_is_not_installed_is_a_warning_and_an_error_of_a_deployment(settings: Settings) -> None:
    settings.DSN = {"RUNNER": "imediate"}

    found = the(configuration.check_settings(), "dsn.W004")

    assert found.msg == "DSN['RUNNER']: There is no runner 'imediate' (did you mean 'immediate'?)."
    assert not found.is_serious()
    counted = the(deployment.check_deployment(registry), "dsn.E015")
    assert counted.is_serious()
    assert counted.msg == "1 fault keeps plugins or the runner from working: dsn.W004."


class Refusing(BaseRunner):
    """Cannot work here, and says so as an error."""

    name = "refusing"

    def wake(self, using: str) -> None: ...

    @classmethod
    def check(cls) -> list[CheckMessage]:
        return [Error("no broker", hint="Start one.", id="acme.E001"), Warning("no sweep", id="acme.W002")]


class Leaving(Refusing):
    name = "leaving"

    @classmethod
    def check(cls) -> list[CheckMessage]:
        raise SystemExit("bye")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("refusing", {"acme.E001": "no broker", "acme.W002": "no sweep"}),
        ("leaving", {"dsn.W006": "DSN['RUNNER'] is 'leaving', whose check raised SystemExit: bye."}),
    ],
)
def test_what_a_runner_says_of_itself_stops_no_command(
    dsn: Harness, settings: Settings, name: str, said: dict[str, str]
) -> None:
    dsn.add(Refusing, Leaving)
    settings.DSN = {"RUNNER": name}

    found = configuration.check_settings()

    assert {item.id: item.msg for item in found} == said
    assert not any(item.is_serious() for item in found)
    # The warning of a runner that works is not counted.
    assert the(deployment.check_deployment(registry), "dsn.E015").msg.startswith("1 fault keeps")


@pytest.mark.parametrize("setting", ["PLUGINS", "DISABLED_PLUGINS"])
def test_a_list_that_names_no_plugin_is_a_warning(site: Site, settings: Settings, setting: str) -> None:
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager"))
    settings.DSN = {setting: ["acme-pager:pager", "pagr"]}

    (found,) = configuration.check_settings(site.load())

    assert found.id == "dsn.W013"
    assert found.msg == f"DSN[{setting!r}]: There is no plugin 'pagr' (did you mean 'pager'?)."


def test_the_immediate_runner_is_warned_of_in_production_only(settings: Settings) -> None:
    settings.DSN = {}
    assert ids(run_checks(tags=["dsn"], include_deployment_checks=True)).count("dsn.W040") == 1
    assert "dsn.W040" not in ids(run_checks(tags=["dsn"]))

    settings.DSN = {"RUNNER": "worker"}
    assert "dsn.W040" not in ids(deployment.check_deployment())


@pytest.mark.skipif(connection.vendor != "sqlite", reason="about SQLite")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["dsn.W041"]),
        ({"transaction_mode": "DEFERRED"}, ["dsn.W041"]),
        ({"transaction_mode": "IMMEDIATE"}, []),
        ({"transaction_mode": "immediate"}, []),
        ({"transaction_mode": "EXCLUSIVE"}, []),
    ],
)
def test_sqlite_wants_immediate_transactions(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, options: dict[str, str], expected: list[str]
) -> None:
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)

    settings.DSN = {"RUNNER": "worker"}
    assert ids(configuration.check_database()) == expected

    settings.DSN = {"RUNNER": "immediate"}
    assert configuration.check_database() == []


@pytest.mark.skipif(connection.vendor != "sqlite", reason="about SQLite")
@pytest.mark.parametrize(("version", "expected"), [((3, 32, 3), ["dsn.E016"]), ((3, 33, 0), []), ((3, 40, 1), [])])
def test_an_sqlite_that_is_too_old_is_an_error(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, version: tuple[int, ...], expected: list[str]
) -> None:
    settings.DSN = {"RUNNER": "immediate"}
    monkeypatch.setattr(connection.Database, "sqlite_version_info", version)

    found = configuration.check_database()

    assert ids(found) == expected
    for message in found:
        assert message.msg.startswith("dsn-core needs SQLite 3.33.0 or newer, and Python uses 3.32.3 here")


@pytest.mark.skipif(connection.vendor == "sqlite", reason="about other databases")
def test_other_databases_have_no_transaction_mode() -> None:
    assert configuration.check_database() == []


# What is installed


def test_a_broken_plugin_a_misspelt_hook_and_a_duplicate_name_are_warnings(site: Site, settings: Settings) -> None:
    site.distribution("acme-broken", {"broken": "acme_broken"}, "raise OSError('no disk')")
    site.distribution("acme-misspelt", {"misspelt": "acme_misspelt"}, "@hookimpl\ndef dsn_mesengers(): return []")
    site.distribution("acme-one", {"one": "acme_one"}, messenger_source("pager"))
    site.distribution("acme-two", {"two": "acme_two"}, messenger_source("pager"))

    loaded = site.load()
    found = installed.check_plugins(loaded)

    assert the(found, "dsn.W010").msg == (
        "Plugin broken (acme-broken 1.0): importing acme_broken raised OSError: no disk (acme_broken.py:6)."
    )
    assert "did you mean 'dsn_messengers'?" in the(found, "dsn.W011").msg
    duplicate = the(found, "dsn.W012")
    assert "two (acme-two 1.0)" in duplicate.msg
    assert "one (acme-one 1.0)" in duplicate.msg
    assert not any(item.is_serious() for item in found)
    counted = the(deployment.check_deployment(loaded), "dsn.E015")
    assert counted.is_serious()
    assert counted.msg == "3 faults keep plugins or the runner from working: dsn.W010, dsn.W011, dsn.W012."

    settings.SILENCED_SYSTEM_CHECKS = ["dsn.W012"]
    assert the(deployment.check_deployment(loaded), "dsn.E015").msg.startswith("2 faults keep")


def test_a_messenger_that_is_not_configured_is_a_warning(site: Site) -> None:
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager", options="TOKEN: str = secret()"))

    assert of_installed(site) == []
    found = the(of_deployment(site), "dsn.W020")

    assert found.msg == "The messenger 'pager' is not configured: TOKEN is missing."
    assert found.hint == (
        "Set its options in DSN['MESSENGERS']['pager'], or add 'pager' to DSN['DISABLED_PLUGINS'] "
        "if you do not want it."
    )
    assert not found.is_serious()


def test_of_a_messenger_with_accounts_only_these_must_be_configured(site: Site, settings: Settings) -> None:
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager", options="TOKEN: str = secret()"))
    settings.DSN = {"MESSENGERS": {"day": {"MESSENGER": "pager", "TOKEN": "x"}, "night": {"MESSENGER": "pager"}}}

    found = the(of_deployment(site), "dsn.W020")

    assert found.msg == "The messenger 'night' is not configured: TOKEN is missing."


def test_a_messengers_own_messages_keep_their_ids(site: Site) -> None:
    check = "check = classmethod(lambda cls, options: [Error('no route', hint='dig', id='acme.E001')])"
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager", check))

    assert of_installed(site) == []
    found = the(of_deployment(site), "acme.E001")

    assert (found.msg, found.hint) == ("no route", "dig")


def test_options_for_a_messenger_that_is_not_installed_are_a_warning(site: Site, settings: Settings) -> None:
    settings.DSN = {
        "MESSENGERS": {
            "consol": {},
            "bot": {"MESSENGER": "telegraph"},
            "of-an-account": {"MESSENGER": "mine"},
            "mine": {"MESSENGER": "console"},
        }
    }

    found = [item for item in of_installed(site) if item.id == "dsn.W021"]

    assert [item.msg for item in found] == [
        "DSN['MESSENGERS']['consol']: There is no messenger 'consol' (did you mean 'console'?).",
        "DSN['MESSENGERS']['bot']: There is no messenger 'telegraph'.",
        "DSN['MESSENGERS']['of-an-account']: There is no messenger 'mine'.",
    ]


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ("text = '{% if %}'", "is no valid Jinja2"),
        ("text = '{% if %}'; engine = 'django'", "is no valid Django template"),
        ("file_name = 'not/there.html'", "There is no template file 'not/there.html'"),
        ("text = 7", "cannot be compiled: "),
    ],
)
def test_a_message_template_that_cannot_be_compiled_is_a_warning(site: Site, attributes: str, said: str) -> None:
    source = f"class Note(BaseMessageTemplate):\n    name = 'note'\n    {attributes}\n{TEMPLATES}"
    site.distribution("acme-note", {"acme": "acme_note"}, source)

    found = the(of_installed(site), "dsn.W022")

    assert found.msg.startswith("The message template 'note' of the plugin acme cannot be compiled: ")
    assert said in found.msg


def test_a_message_template_of_an_unknown_engine_breaks_its_plugin(site: Site) -> None:
    source = f"class Note(BaseMessageTemplate):\n    text = 'x'\n    engine = 'jinja'\n{TEMPLATES}"
    site.distribution("acme-note", {"acme": "acme_note"}, source)

    assert "engine is 'jinja'; it is one of django, jinja2" in the(of_installed(site), "dsn.W010").msg


def test_a_message_template_that_renders_itself_needs_no_source(site: Site) -> None:
    source = "class Note(BaseMessageTemplate):\n    def render(self, *args): return 'x'\n" + TEMPLATES
    site.distribution("acme-note", {"acme": "acme_note"}, source)

    assert of_installed(site) == []


def test_plugins_that_are_disabled_or_not_allowed_are_no_finding(site: Site, settings: Settings) -> None:
    site.distribution("acme-one", {"one": "acme_one"}, "1 / 0")
    site.distribution("acme-two", {"two": "acme_two"}, "1 / 0")
    settings.DSN = {"DISABLED_PLUGINS": ["one"], "PLUGINS": ["one"]}

    assert of_installed(site) == []


# The stored rows


@pytest.mark.django_db
def test_rows_that_name_what_is_installed_have_no_findings() -> None:
    Trigger.objects.define("post_save", action_object=Movie).subscribe(
        resolver="path", argument="instance.audiences", backends=[("console", "simple")]
    )

    assert stored.check_stored(databases=["default"]) == []


@pytest.mark.django_db
def test_backends_whose_plugin_is_gone_are_counted_by_name() -> None:
    Backend.objects.bulk_create(
        [
            Backend(messenger="fax", message_template="simple"),
            Backend(messenger="fax", message_template="simpel"),
            Backend(messenger="console", message_template="simple"),
        ]
    )

    found = stored.check_stored(databases=["default"])

    assert [item.msg for item in found] == [
        "There is no messenger 'fax'; 2 stored backends name it.",
        "There is no message template 'simpel' (did you mean 'simple'?); 1 stored backend names it.",
    ]
    assert ids(found) == ["dsn.W030", "dsn.W030"]
    assert not any(item.is_serious() for item in found)


@pytest.mark.django_db
def test_a_messenger_that_is_not_configured_is_a_warning_where_a_stored_backend_names_it(site: Site) -> None:
    error = "check = classmethod(lambda cls, options: [Error('no route', hint='dig', id='acme.E001')])"
    site.distribution("acme-fax", {"fax": "acme_fax"}, messenger_source("fax", error))
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager", options="TOKEN: str = secret()"))
    loaded = site.load()
    assert stored.check_stored(loaded, databases=["default"]) == []

    Backend.objects.bulk_create([Backend(messenger="fax", message_template="simple")])
    found = the(stored.check_stored(loaded, databases=["default"]), "acme.E001")
    assert (found.msg, found.hint) == ("no route", "dig")
    # 'manage.py migrate' asks for these checks.
    assert not found.is_serious()

    Backend.objects.bulk_create([Backend(messenger="pager", message_template="simple")])
    assert the(stored.check_stored(loaded, databases=["default"]), "dsn.W020").msg.startswith(
        "The messenger 'pager' is not configured"
    )


@pytest.mark.django_db
def test_triggers_whose_verb_or_model_is_gone_are_warned_of() -> None:
    trigger = Trigger.objects.define("post_save", action_object=Movie, actor_object=get_user_model())
    Trigger.objects.filter(pk=trigger.pk).update(
        verb="post_saved", action_object_model="cinema.movie", actor_object_model="nonsense"
    )

    found = stored.check_stored(databases=["default"])

    assert [item.msg for item in found] == [
        "There is no verb 'post_saved' (did you mean 'post_save'?); 1 stored trigger names it.",
        "There is no model 'cinema.movie'; 1 stored trigger names it and can never match.",
        "There is no model 'nonsense'; 1 stored trigger names it and can never match.",
    ]
    assert set(ids(found)) == {"dsn.W031"}

    Trigger.objects.update(enabled=False)
    assert stored.check_stored(databases=["default"]) == []


@pytest.mark.django_db
def test_subscriptions_whose_resolver_or_messenger_is_gone_are_warned_of() -> None:
    subscription = Trigger.objects.define("post_save", action_object=Movie).subscribe(
        resolver="path", argument="instance.audiences", addresses=[("console", "desk")]
    )
    type(subscription).objects.update(resolver="paths")
    subscription.addresses.update(messenger="fax")

    found = stored.check_stored(databases=["default"])

    assert [item.msg for item in found] == [
        "There is no receiver resolver 'paths' (did you mean 'path'?); 1 stored subscription names it.",
        "There is no messenger 'fax'; 1 stored address names it.",
    ]
    assert set(ids(found)) == {"dsn.W032"}


class MoviesElsewhere:
    def db_for_write(self, model: type, **hints: object) -> str | None:
        return "archive" if model is Movie else None


@pytest.mark.django_db
def test_a_trigger_on_a_model_in_another_database_is_warned_of(settings: Settings) -> None:
    Trigger.objects.define("post_save", action_object=Movie)
    settings.DATABASE_ROUTERS = [MoviesElsewhere()]

    found = the(stored.check_stored(databases=["default"]), "dsn.W042")

    assert "'testapp.movie'" in found.msg
    assert "'archive'" in found.msg


@pytest.mark.django_db
def test_a_missing_table_is_no_finding_and_harms_no_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backend._meta, "db_table", "a_table_that_is_not_there")

    assert stored.check_stored(databases=["default"]) == []
    # The test's own transaction still works.
    assert Trigger.objects.count() == 0


def test_without_a_database_nothing_is_asked() -> None:
    assert stored.check_stored(databases=None) == []
    assert stored.check_stored(databases=[]) == []


# All of it, as Django runs it


def test_only_the_stored_rows_and_what_runs_need_the_database() -> None:
    tags = {
        getattr(check, "__name__", ""): set(getattr(check, "tags", ()))
        for check in registered.get_checks(include_deployment_checks=True)
        if check.__module__.startswith("dsn_core.checks")
    }

    assert tags.pop("check_stored") == {Tags.database}
    own = (
        "check_settings",
        "check_models",
        "check_plugins",
        "check_paths",
        "check_database",
        "check_deployment",
        "check_running",
    )
    assert tags == {name: {"dsn"} for name in own}


@pytest.mark.django_db  # Django asks the server for its version.
def test_manage_check_fails_on_an_error(settings: Settings) -> None:
    settings.DSN = {"RUNER": "worker"}

    with pytest.raises(SystemCheckError, match=r"dsn\.E002"):
        call_command("check", stderr=StringIO(), stdout=StringIO())


@pytest.mark.django_db
def test_manage_check_with_the_database_warns_of_what_was_uninstalled() -> None:
    Backend.objects.bulk_create([Backend(messenger="fax", message_template="simple")])
    quiet, loud = StringIO(), StringIO()

    call_command("check", stderr=quiet, stdout=StringIO())
    call_command("check", databases=["default"], stderr=loud, stdout=StringIO())

    assert "dsn.W030" not in quiet.getvalue()
    assert "(dsn.W030) There is no messenger 'fax'" in loud.getvalue()


@pytest.mark.parametrize(
    "nonsense", ["raise RuntimeError('mean')", "raise SystemExit", "return 7", "return [None, object()]"]
)
def test_no_check_raises_whatever_a_plugin_does(site: Site, nonsense: str) -> None:
    source = messenger_source("mean", f"@classmethod\n    def check(cls, options):\n        {nonsense}")
    source += f"class Note(BaseMessageTemplate):\n    text = 'x'\n    @classmethod\n    def compile(cls): {nonsense}\n"
    site.distribution("acme-mean", {"mean": "acme_mean"}, source + TEMPLATES)
    added = registry.add(site.plugin("mean").candidate)
    try:
        quiet = run_checks(tags=["dsn"])
        found = run_checks(tags=["dsn"], include_deployment_checks=True)
    finally:
        registry.remove(added)

    assert "dsn.W020" in ids(found)
    assert "dsn.W020" not in ids(quiet)
    assert not any(item.is_serious() for item in quiet)
