from __future__ import annotations

import pytest

from dsn_core.plugins.kinds import MESSENGERS
from tests.plugins.fakes import Site, messenger_source, plugin

LIST = "@hookimpl\ndef dsn_messengers(): "
TEMPLATES = "@hookimpl\ndef dsn_message_templates(): return [Bad]"


def refusal(site: Site, source: str) -> str:
    """Why a plugin with this source is broken. A second plugin shows that the fault stays its own."""
    site.distribution("bad", {"bad": "bad_plugin"}, source)
    site.distribution("good", {"good": "good_plugin"}, messenger_source("good"))
    registry = site.load()
    assert plugin(registry, "good").state == "active"
    assert registry.messenger_class("good").name == "good"
    found = plugin(registry, "bad")
    assert found.state == "broken"
    assert found.contributions[MESSENGERS.plural] == []
    assert found.hooks is None
    return found.reason


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("import a_package_that_is_not_there", "ModuleNotFoundError: No module named 'a_package_that_is_not_there'"),
        ("import sys; sys.exit('bye')", "SystemExit: bye"),
        ("import asyncio; raise asyncio.CancelledError", "CancelledError"),
        ("def (", "SyntaxError"),
    ],
)
def test_a_plugin_that_raises_at_import_is_broken(site: Site, source: str, said: str) -> None:
    reason = refusal(site, source)

    assert reason.startswith("importing bad_plugin raised ")
    assert said in reason


def test_a_broken_distribution_has_a_way_out(site: Site) -> None:
    site.distribution("bad", {"bad": "bad_plugin"}, "1 / 0")

    (fault,) = site.plugin("bad").faults

    assert fault.kind == "broken"
    assert fault.hint == "Upgrade or uninstall bad, or list 'bad' in DSN['DISABLED_PLUGINS']."


def test_a_plugin_that_raises_in_a_hook_is_broken(site: Site) -> None:
    assert (
        refusal(site, LIST + "raise KeyError('token')") == "dsn_messengers() raised KeyError: 'token' (bad_plugin.py:7)"
    )


def test_a_plugin_that_raises_in_its_second_hook_registers_nothing_of_the_first(site: Site) -> None:
    source = messenger_source("half") + "\n@hookimpl\ndef dsn_signals(): raise ValueError('late')\n"

    assert refusal(site, source) == "dsn_signals() raised ValueError: late (bad_plugin.py:23)"


def test_a_misspelt_hook_is_refused_with_the_nearest_name(site: Site) -> None:
    reason = refusal(site, "@hookimpl\ndef dsn_mesengers(): return []")

    assert reason == "it implements dsn_mesengers, which is no hook of dsn-core (did you mean 'dsn_messengers'?)"


def test_all_misspelt_hooks_are_named_at_once(site: Site) -> None:
    source = "@hookimpl\ndef dsn_mesengers(): return []\n\n@hookimpl\ndef dsn_runner(): return []\n"
    site.distribution("bad", {"bad": "bad_plugin"}, source)

    found = site.plugin("bad")

    assert found.state == "broken"
    assert [fault.kind for fault in found.faults] == ["misspelt", "misspelt"]
    assert "'dsn_messengers'" in found.reason
    assert "'dsn_runners'" in found.reason
    assert "dsn_codecs" in found.faults[0].hint


def test_an_optional_hook_may_be_one_of_a_later_version(site: Site) -> None:
    source = messenger_source("pager") + "\n@hookimpl(optionalhook=True)\ndef dsn_of_a_later_version(): return []\n"
    site.distribution("acme", {"pager": "acme_pager"}, source)

    assert site.plugin("pager").state == "active"


def test_models_whose_app_is_missing_have_the_line_to_add(site: Site) -> None:
    site.module("acme_inbox.models", "from django.db import models\nclass Note(models.Model): pass\n")
    site.distribution("acme-inbox", {"inbox": "acme_inbox.plugin"}, "from acme_inbox.models import Note")

    (fault,) = site.plugin("inbox").faults

    assert fault.message.startswith("importing acme_inbox.plugin raised RuntimeError: Model class acme_inbox.models.")
    assert fault.hint == "Add 'acme_inbox' to INSTALLED_APPS: it has models."


def test_a_hook_without_its_mark_is_refused(site: Site) -> None:
    site.distribution("bad", {"bad": "bad_plugin"}, "def dsn_messengers(): return []")

    (fault,) = site.plugin("bad").faults

    assert (fault.kind, fault.message) == ("misspelt", "its dsn_messengers() is not marked as a hook")
    assert fault.hint == "Write @hookimpl above dsn_messengers()."


def test_a_hook_with_arguments_that_do_not_exist_is_refused(site: Site) -> None:
    reason = refusal(site, "@hookimpl\ndef dsn_messengers(settings): return []")

    assert reason.startswith("a hook of it does not fit its specification")
    assert "settings" in reason


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 7", "dsn_messengers() returned 7; it returns a list"),
        ("return 'email'", "dsn_messengers() returned 'email'; it returns a list"),
        ("return BaseMessenger", "it returns a list"),
        ("return [BaseMessageTemplate]", "it returns subclasses of BaseMessenger"),
        ("return [object()]", "it returns subclasses of BaseMessenger"),
        ("return None", "dsn_messengers() returned None; it returns a list (is its 'return' missing?)"),
        ("yield 'nonsense'", "it returns subclasses of BaseMessenger"),
        ("yield 1 / 0", "dsn_messengers() raised ZeroDivisionError: division by zero"),
    ],
)
def test_a_hook_that_returns_nonsense_is_refused(site: Site, body: str, said: str) -> None:
    assert said in refusal(site, LIST + body)


def test_signals_must_be_registrations(site: Site) -> None:
    reason = refusal(site, "@hookimpl\ndef dsn_signals(): return [Signal()]")

    assert "it returns SignalRegistration objects" in reason


def test_an_iterator_of_classes_is_as_good_as_a_list(site: Site) -> None:
    source = messenger_source("pager").replace("return [Fake]", "yield Fake")
    site.distribution("acme", {"pager": "acme_pager"}, source)

    assert [cls.name for cls in site.plugin("pager").contributions[MESSENGERS.plural]] == ["pager"]


def messenger_class(attributes: str) -> str:
    return f"class Bad(BaseMessenger):\n    {attributes}\n\n{LIST}return [Bad]\n"


SENDS = "def send_messages(self, messages): return []"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (messenger_class("pass"), "bad_plugin.Bad overrides neither send_messages() nor send(): it would do nothing"),
        (messenger_class("def send(self, template, recipients): ..."), "bad_plugin.Bad.send() asks for recipients"),
        (messenger_class(f"parts = ('text', 'picture')\n    {SENDS}"), "it lists one or more of subject, text, html"),
        (messenger_class(f"parts = ()\n    {SENDS}"), "bad_plugin.Bad.parts is ()"),
        (messenger_class(f"parts = None\n    {SENDS}"), "bad_plugin.Bad cannot be checked: TypeError"),
        (messenger_class(f"batch_size = 0\n    {SENDS}"), "bad_plugin.Bad.batch_size is 0"),
        (messenger_class(f"name = 'with a space'\n    {SENDS}"), "bad_plugin.Bad.name is 'with a space'"),
        (messenger_class(f"name = None\n    {SENDS}"), "bad_plugin.Bad.name is None"),
        (messenger_class(f"name = 'x' * 101\n    {SENDS}"), "a name is 1 to 100 letters"),
        (
            f"class Bad(BaseMessageTemplate): pass\n{TEMPLATES}",
            "bad_plugin.Bad has no source: set file_name or template_string",
        ),
        (
            f"class Bad(BaseMessageTemplate): text = 'x'; required_signal_args = 'movie'\n{TEMPLATES}",
            "it is a list of names: ['movie']",
        ),
        (
            "class Bad(BaseReceiverResolver): pass\n@hookimpl\ndef dsn_receiver_resolvers(): return [Bad]",
            "bad_plugin.Bad overrides no resolve()",
        ),
        (
            "class Bad(BaseReceiverFilter): pass\n@hookimpl\ndef dsn_receiver_filters(): return [Bad]",
            "bad_plugin.Bad overrides no exclude()",
        ),
        (
            "class Bad(BaseRunner): pass\n@hookimpl\ndef dsn_runners(): return [Bad]",
            "bad_plugin.Bad overrides no wake()",
        ),
        (
            "@hookimpl\ndef dsn_signals(): return [SignalRegistration('happened', object())]",
            "a django.dispatch.Signal is expected",
        ),
        (
            "@hookimpl\ndef dsn_signals(): return [SignalRegistration('happened', Signal(), provides='movie')]",
            "provides=['movie']",
        ),
    ],
)
def test_a_class_that_does_not_keep_its_contract_is_refused(site: Site, source: str, said: str) -> None:
    assert said in refusal(site, source)


def test_a_seed_style_messenger_may_take_fewer_arguments(site: Site) -> None:
    source = messenger_class("name = 'simple'\n    @classmethod\n    def send(cls, template, users, **kwargs): ...")
    site.distribution("acme", {"simple": "acme_simple"}, source)

    assert site.plugin("simple").state == "active"


def test_an_app_that_a_plugin_needs_is_asked_for(site: Site) -> None:
    source = "required_apps = ['acme_inbox', 'django.contrib.auth', 'acme_ui']\n" + messenger_source("inbox")
    site.distribution("acme-inbox", {"inbox": "acme_inbox_plugin"}, source)

    found = site.plugin("inbox")

    assert found.state == "broken"
    assert found.reason == "it needs 'acme_inbox', 'acme_ui' in INSTALLED_APPS"
    assert found.faults[0].hint == "Add 'acme_inbox', 'acme_ui' to INSTALLED_APPS."


@pytest.mark.parametrize("required", ["['django.contrib.auth']", "'django.contrib.auth'", "()"])
def test_apps_that_are_installed_are_fine(site: Site, required: str) -> None:
    site.distribution(
        "acme-inbox", {"inbox": "acme_inbox_plugin"}, f"required_apps = {required}\n" + messenger_source("inbox")
    )

    assert site.plugin("inbox").state == "active"


def test_nonsense_for_required_apps_breaks_only_its_plugin(site: Site) -> None:
    assert "TypeError" in refusal(site, "required_apps = 7")


def test_the_templates_of_a_plugin_without_an_app_are_found(site: Site) -> None:
    site.distribution("acme-pager", {"pager": "acme_pager.plugin"}, messenger_source("pager"))
    folder = site.folder / "acme_pager" / "templates"
    folder.mkdir()

    assert folder in site.load().template_dirs()
