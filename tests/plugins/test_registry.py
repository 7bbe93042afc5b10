from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING

import jinja2
import pytest
from django.core.checks import CheckMessage
from django.dispatch import Signal

from dsn_core import SignalRegistration
from dsn_core.exceptions import ConfigurationError, ContractError, UnknownName
from dsn_core.plugins.catalogue import Catalogue
from dsn_core.plugins.kinds import MESSAGE_TEMPLATES, MESSENGERS
from dsn_core.plugins.registry import Registry
from tests.plugins.fakes import Site, messenger_source, plugin

if TYPE_CHECKING:
    from pytest_django import Settings

TOKEN = "TOKEN: str = secret()"


def texts(findings: list[CheckMessage | str]) -> list[str]:
    return [finding if isinstance(finding, str) else str(finding.msg) for finding in findings]


def test_of_two_distributions_with_one_name_the_first_by_name_has_it(site: Site) -> None:
    more = (
        messenger_source("mail").replace("[Fake]", "[Fake, type('Other', (Fake,), {'name': 'other'})]")
        + "\n@hookimpl\ndef dsn_message_templates():\n"
        + "    return [type('Note', (BaseMessageTemplate,), {'name': 'note', 'text': 'x'})]\n"
    )
    site.distribution("zulu-mail", {"post": "zulu_mail"}, more)
    site.distribution("acme-mail", {"mail": "acme_mail"}, messenger_source("mail"))

    registry = site.load()

    assert registry.messenger_class("mail").__module__ == "acme_mail"
    loser = plugin(registry, "post")
    assert loser.state == "active"
    (fault,) = loser.faults
    assert fault.kind == "duplicate"
    assert fault.message == (
        "its messenger 'mail' is not used, because mail (acme-mail 1.0) has one of that name already"
    )
    # It loses that name only.
    assert registry.messenger_class("other").__module__ == "zulu_mail"
    assert registry.message_template("note").name == "note"


def test_names_that_differ_in_case_only_are_one_name(site: Site) -> None:
    site.distribution("acme-mail", {"mail": "acme_mail"}, messenger_source("Mail"))
    site.distribution("zulu-mail", {"post": "zulu_mail"}, messenger_source("mail"))

    registry = site.load()

    (fault,) = plugin(registry, "post").faults
    assert fault.kind == "duplicate"
    assert fault.message == (
        "its messenger 'mail' is not used, because mail (acme-mail 1.0) has one of the name 'Mail' already"
    )
    assert "Mail" in registry.names(MESSENGERS)
    assert "mail" not in registry.names(MESSENGERS)


def test_the_built_in_plugin_wins_over_an_app_and_an_app_over_a_distribution(site: Site) -> None:
    both = "[Fake, type('Console', (Fake,), {'name': 'console'})]"
    site.app("zoo", messenger_source("pager").replace("[Fake]", both))
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager"))

    registry = site.load()

    assert registry.messenger_class("console").__module__ == "dsn_core.builtin.plugin"
    assert registry.messenger_class("pager").__module__ == "zoo.dsn_plugin"
    assert "builtin (dsn-core" in plugin(registry, "zoo").faults[0].message
    assert "because zoo (app) has one" in plugin(registry, "pager").faults[0].message


def test_two_plugins_may_not_give_one_verb_to_two_signals(site: Site) -> None:
    source = "released = Signal()\n@hookimpl\ndef dsn_signals(): return [SignalRegistration('released', released)]\n"
    site.distribution("acme-one", {"one": "acme_one"}, source)
    site.distribution("acme-two", {"two": "acme_two"}, source)

    registry = site.load()

    (fault,) = plugin(registry, "two").faults
    assert fault.kind == "duplicate"
    assert fault.message.startswith("its signal 'released' is not used")
    assert registry.signals.get("released") is plugin(registry, "one").contributions["signals"][0]


def test_a_verb_that_was_registered_by_hand_is_not_taken_over(site: Site) -> None:
    mine = SignalRegistration("released", Signal())
    catalogue = Catalogue()
    catalogue.add(mine)
    site.distribution(
        "acme-one",
        {"one": "acme_one"},
        "@hookimpl\ndef dsn_signals(): return [SignalRegistration('released', Signal())]\n",
    )
    registry = Registry(catalogue)
    registry.load()

    assert catalogue.get("released") is mine
    (fault,) = plugin(registry, "one").faults
    assert (fault.kind, fault.hint) == ("duplicate", "Choose another name for one of the two.")


def test_a_name_that_nothing_carries_says_the_nearest(site: Site) -> None:
    with pytest.raises(UnknownName, match=r"no messenger 'consol' \(did you mean 'console'\?\).*dsn_plugins"):
        site.load().messenger_class("consol")


def test_a_removed_plugin_takes_its_names_and_verbs_with_it(site: Site) -> None:
    source = messenger_source("pager") + (
        "\n@hookimpl\ndef dsn_signals(): return [SignalRegistration('released', Signal())]\n"
    )
    site.distribution("acme-pager", {"pager": "acme_pager"}, source)
    registry = site.load()

    registry.remove(plugin(registry, "pager"))

    assert "pager" not in registry.names(MESSENGERS)
    assert registry.signals.find("released") is None


def test_an_alias_is_an_account_with_its_own_options(site: Site, settings: Settings) -> None:
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager", options=TOKEN))
    settings.DSN = {
        "MESSENGERS": {"pager": {"TOKEN": "one"}, "night-shift": {"MESSENGER": "pager", "TOKEN": "two"}},
        "ADDRESSES": {"pager": "profile.phone"},
    }
    registry = site.load()

    messenger = registry.messenger("night-shift")

    assert (messenger.alias, messenger.name, messenger.options.TOKEN) == ("night-shift", "pager", "two")
    assert messenger.needs_address
    assert registry.messenger("pager").options.TOKEN == "one"
    assert {"pager", "night-shift"} <= set(registry.names(MESSENGERS))
    assert registry.account_of("night-shift") == "pager"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, ["TOKEN is missing"]),
        ({"TOKEN": ""}, ["TOKEN is empty"]),
        ({"TOKEN": 5}, ["TOKEN must be str, not int"]),
        ({"TOKEN": "hush", "TIMOUT": 3}, ["TIMOUT is not an option (did you mean 'TIMEOUT'?)"]),
        ({"TOKEN": "hush", "TIMEOUT": "soon"}, ["TIMEOUT must be float, not str"]),
        ({"TOKEN": "hush", "TIMEOUT": True}, ["TIMEOUT must be float, not bool"]),
        ({"TOCKEN": "hush"}, ["TOCKEN is not an option (did you mean 'TOKEN'?)", "TOKEN is missing"]),
    ],
)
def test_wrong_options_are_named_all_and_never_shown(
    site: Site, settings: Settings, options: dict[str, object], said: list[str]
) -> None:
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager", options=TOKEN))
    settings.DSN = {"MESSENGERS": {"pager": options}}
    registry = site.load()

    assert registry.messenger_findings("pager") == ["; ".join(said)]
    with pytest.raises(ConfigurationError) as caught:
        registry.messenger("pager")
    assert str(caught.value) == f"DSN['MESSENGERS']['pager']: {'; '.join(said)}"
    assert "hush" not in str(caught.value)


def test_right_options_are_ready_and_their_secret_never_shows(site: Site, settings: Settings) -> None:
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager", options=TOKEN))
    settings.DSN = {"MESSENGERS": {"pager": {"TOKEN": "hush", "TIMEOUT": 3}}}
    registry = site.load()

    options = registry.messenger("pager").options

    assert registry.messenger_findings("pager") == []
    assert "hush" not in repr(options)
    assert options.mask("https://pager.example/hush/send") == "https://pager.example/***/send"


def test_what_a_messengers_own_check_says_is_passed_on(site: Site) -> None:
    check = "check = classmethod(lambda cls, options: [Warning('slow', id='acme.W001'), 'plain'])"
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager", check))

    findings = site.load().messenger_findings("pager")

    assert texts(findings) == ["slow", "plain"]
    assert isinstance(findings[0], CheckMessage)
    assert findings[0].id == "acme.W001"


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (
            "raise RuntimeError(f'refused {options.TOKEN}')",
            "its check raised RuntimeError: refused *** (acme_pager.py:18)",
        ),
        ("return 7", "its check raised TypeError: 'int' object is not iterable"),
    ],
)
def test_a_check_that_raises_is_a_finding_without_secrets(
    site: Site, settings: Settings, check: str, said: str
) -> None:
    body = f"@classmethod\n    def check(cls, options):\n        {check}"
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager", body, options=TOKEN))
    settings.DSN = {"MESSENGERS": {"pager": {"TOKEN": "hush"}}}

    assert texts(site.load().messenger_findings("pager")) == [said]


def test_a_messenger_that_cannot_be_made_is_a_finding_without_secrets(site: Site, settings: Settings) -> None:
    body = (
        "def __init__(self, alias, options, path):\n"
        "        super().__init__(alias, options, path)\n"
        "        raise ValueError(f'invalid token {options.TOKEN}')"
    )
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager", body, options=TOKEN))
    settings.DSN = {"MESSENGERS": {"pager": {"TOKEN": "hush"}}}
    registry = site.load()

    assert registry.messenger_findings("pager") == [
        "The messenger 'pager' cannot be made: ValueError: invalid token *** (acme_pager.py:18)"
    ]
    with pytest.raises(ContractError) as caught:
        registry.messenger("pager")
    assert "hush" not in "".join(traceback.format_exception(caught.value))


def test_a_check_that_returns_none_has_nothing_to_say(site: Site) -> None:
    check = "check = classmethod(lambda cls, options: None)"
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager", check))

    assert site.load().messenger_findings("pager") == []


@pytest.mark.parametrize("options", ["pass", "RATE: int = 30"])
def test_a_rate_of_a_wrong_type_is_that_messengers_fault(site: Site, settings: Settings, options: str) -> None:
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager", options=options))
    settings.DSN = {"MESSENGERS": {"pager": {"RATE": 30}}}
    registry = site.load()

    assert registry.messenger_findings("pager") == ["RATE must be text, such as '30/s', not int"]
    assert registry.messenger_findings("console") == []
    with pytest.raises(ConfigurationError, match=r"DSN\['MESSENGERS'\]\['pager'\]: RATE must be text"):
        registry.messenger("pager")


def test_what_a_check_says_shows_no_secrets(site: Site, settings: Settings) -> None:
    body = "check = classmethod(lambda cls, options: [Warning(f'no {options.TOKEN}'), f'a {options.TOKEN}'])"
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager", body, options=TOKEN))
    settings.DSN = {"MESSENGERS": {"pager": {"TOKEN": "hush"}}}

    assert texts(site.load().messenger_findings("pager")) == ["no ***", "a ***"]


def test_options_that_are_no_frozen_dataclass_break_their_plugin(site: Site) -> None:
    body = "Options = type('Odd', (Options,), {'__annotations__': {'X': 'NoSuchType'}})"
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager", body))

    registry = site.load()

    (plugin,) = [plugin for plugin in registry.plugins if plugin.name == "pager"]
    assert plugin.state == "broken"
    assert "Options" in plugin.reason
    assert "dataclass" in plugin.reason


@pytest.mark.parametrize("value", ["postgres://somewhere", None, {"MESSENGERS": None}, {"MESSENGERS": {"console": 3}}])
def test_a_setting_that_cannot_be_used_leaves_the_defaults(site: Site, settings: Settings, value: object) -> None:
    settings.DSN = value

    registry = site.load()

    assert registry.messenger("console").options.TIMEOUT == 10
    assert registry.runner("immediate") is registry.runner("immediate")


def test_a_plugin_that_raises_while_jinja2_is_prepared_leaves_the_others_their_turn(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.distribution(
        "acme-bad", {"bad": "acme_bad"}, "@hookimpl\ndef dsn_jinja2_environment(environment): raise RuntimeError('no')"
    )
    site.distribution(
        "acme-good",
        {"good": "acme_good"},
        "@hookimpl\ndef dsn_jinja2_environment(environment): environment.globals['answer'] = 42",
    )
    environment = jinja2.Environment(autoescape=True)
    with caplog.at_level(logging.ERROR, "dsn_core.plugins"):
        site.load().prepare_jinja2(environment)

    assert environment.globals["answer"] == 42
    assert "bad (acme-bad 1.0): dsn_jinja2_environment() raised" in caplog.text


def test_templates_of_every_kind_of_plugin_are_found_by_name(site: Site) -> None:
    source = "class Note(BaseMessageTemplate):\n    text = 'x'\n@hookimpl\ndef dsn_message_templates(): return [Note]\n"
    site.app("cinema", source)

    # The name of a class that gives none is the class's own.
    assert "Note" in site.load().names(MESSAGE_TEMPLATES)
