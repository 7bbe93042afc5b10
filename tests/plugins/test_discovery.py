from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from dsn_core.plugins.kinds import MESSENGERS
from tests.plugins.fakes import Site, messenger_source, plugin

if TYPE_CHECKING:
    from pytest_django import Settings


def test_the_built_in_plugin_comes_first_and_brings_the_console(site: Site) -> None:
    registry = site.load()

    first = registry.plugins[0]
    assert (first.name, first.candidate.source, first.state) == ("builtin", "builtin", "active")
    assert registry.messenger_class("console").name == "console"


def test_an_entry_point_is_a_plugin_with_its_distribution(site: Site) -> None:
    site.distribution("acme-pager", {"pager": "acme_pager.plugin"}, messenger_source("pager"), version="2.3")

    registry = site.load()

    found = plugin(registry, "pager")
    candidate = found.candidate
    assert (found.state, candidate.source) == ("active", "entry_point")
    assert (candidate.distribution, candidate.version) == ("acme-pager", "2.3")
    assert candidate.label == "pager (acme-pager 2.3)"
    assert registry.messenger_class("pager").__module__ == "acme_pager.plugin"


def test_the_module_dsn_plugin_of_an_app_is_a_plugin(site: Site) -> None:
    site.app("cinema", messenger_source("pager"))

    registry = site.load()

    found = plugin(registry, "cinema")
    assert (found.state, found.candidate.source) == ("active", "app")
    assert (found.candidate.distribution, found.candidate.version) == (None, None)
    assert "pager" in registry.names(MESSENGERS)


def test_an_entry_point_can_name_an_object_in_a_module(site: Site) -> None:
    source = """
    class One(BaseMessenger):
        name = "one"
        def send_messages(self, messages): return []

    class Two(One):
        name = "two"

    class Offer:
        def __init__(self, offered): self.offered = offered
        @hookimpl
        def dsn_messengers(self): return [self.offered]

    first, second = Offer(One), Offer(Two)
    """
    site.module("acme_objects", source)
    site.distribution("acme-objects", {"first": "acme_objects:first", "second": "acme_objects:second"})

    registry = site.load()

    assert {"one", "two"} <= set(registry.names(MESSENGERS))
    assert plugin(registry, "first").state == plugin(registry, "second").state == "active"


def test_the_same_module_by_two_routes_is_one_plugin(site: Site) -> None:
    site.app("cinema", messenger_source("pager"))
    site.distribution("acme-cinema", {"pager": "cinema.dsn_plugin"})

    registry = site.load()

    (found,) = [item for item in registry.plugins if item.candidate.module == "cinema.dsn_plugin"]
    assert (found.candidate.source, found.candidate.distribution) == ("entry_point", "acme-cinema")
    assert found.faults == []


def test_a_module_whose_entry_point_is_not_allowed_still_counts_as_the_apps(site: Site, settings: Settings) -> None:
    site.app("cinema", messenger_source("pager"))
    site.distribution("acme-cinema", {"pager": "cinema.dsn_plugin"})
    settings.DSN = {"PLUGINS": []}

    registry = site.load()

    assert plugin(registry, "cinema").state == "active"
    assert "pager" in registry.names(MESSENGERS)


def test_an_entry_point_that_is_not_allowed_hides_no_other_one_of_the_same_module(
    site: Site, settings: Settings
) -> None:
    site.distribution("aaa", {"squatter": "acme_pager"})
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager"))
    settings.DSN = {"PLUGINS": ["pager"]}

    registry = site.load()

    assert plugin(registry, "squatter").state == "not allowed"
    assert plugin(registry, "pager").state == "active"


@pytest.mark.parametrize("allowed", ["pager", "acme-pager:pager"])
def test_what_is_on_the_allow_list_is_imported_and_nothing_else(site: Site, settings: Settings, allowed: str) -> None:
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager"))
    site.distribution("acme-fax", {"fax": "acme_fax"}, messenger_source("fax"))
    settings.DSN = {"PLUGINS": [allowed]}

    registry = site.load()

    assert plugin(registry, "pager").state == "active"
    left_out = plugin(registry, "fax")
    assert left_out.state == "not allowed"
    assert "DSN['PLUGINS']" in left_out.reason
    assert "acme_fax" not in sys.modules
    assert plugin(registry, "builtin").state == "active"


def test_the_allow_list_can_tell_two_distributions_of_the_same_name_apart(site: Site, settings: Settings) -> None:
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager"))
    site.distribution("evil-pager", {"pager": "evil_pager"}, messenger_source("pager"))
    settings.DSN = {"PLUGINS": ["acme-pager:pager"]}

    registry = site.load()

    states = {item.candidate.distribution: item.state for item in registry.plugins if item.name == "pager"}
    assert states == {"acme-pager": "active", "evil-pager": "not allowed"}
    assert "evil_pager" not in sys.modules


@pytest.mark.parametrize(
    ("distribution", "name"),
    [
        ("evil", "acme-pager:pager"),
        ("evil", "pager:acme-pager"),
        ("evil", "pager"),
        ("evil", "Pager"),
        ("evil", "\N{CYRILLIC SMALL LETTER ER}ager"),
        ("evil", "acme-pager"),
        ("evil", "acme-pager:"),
        ("evil", ":pager"),
        ("evil", "pager,acme-pager:pager"),
        ("Acme-Pager", "pager"),
        ("acme-pager-", "pager"),
        ("acme-page", "r:pager"),
        ("evil:acme-pager", "pager"),
        ("acme-pager:pager", "pager"),
    ],
)
def test_a_name_that_only_looks_like_one_of_the_allow_list_is_not_imported(
    site: Site, settings: Settings, distribution: str, name: str
) -> None:
    site.distribution(distribution, {name: "evil_pager"}, messenger_source("pager"))
    settings.DSN = {"PLUGINS": ["acme-pager:pager"]}

    registry = site.load()

    states = [item.state for item in registry.plugins if item.candidate.module == "evil_pager"]
    assert states == ["not allowed"]
    assert "evil_pager" not in sys.modules


def test_an_item_without_a_distribution_is_met_by_no_package_without_metadata(site: Site, settings: Settings) -> None:
    site.distribution("gone", {"pager": "gone_pager"}, messenger_source("pager"), metadata="")
    settings.DSN = {"PLUGINS": [":pager", "None:pager"]}

    site.load()

    assert "gone_pager" not in sys.modules


def test_a_plugin_cannot_evade_or_bring_about_that_another_is_disabled(site: Site, settings: Settings) -> None:
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager"))
    site.distribution("other", {"acme-pager:pager": "other_fax"}, messenger_source("fax"))
    settings.DSN = {"DISABLED_PLUGINS": ["acme-pager:pager"]}

    registry = site.load()

    states = {item.candidate.distribution: item.state for item in registry.plugins if item.candidate.distribution}
    assert (states["acme-pager"], states["other"]) == ("disabled", "active")


def test_a_name_with_a_colon_can_be_named_with_its_distribution(site: Site, settings: Settings) -> None:
    site.distribution("acme", {"pager:fax": "acme_fax"}, messenger_source("fax"))
    settings.DSN = {"PLUGINS": ["acme:pager:fax"]}

    assert site.plugin("pager:fax").state == "active"


def test_an_allow_list_that_cannot_be_read_allows_nothing(site: Site, settings: Settings) -> None:
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager"))
    settings.DSN = {"PLUGINS": "pager"}

    assert site.plugin("pager").state == "not allowed"
    assert "acme_pager" not in sys.modules


@pytest.mark.parametrize("name", ["pager", "acme-pager:pager"])
def test_a_disabled_plugin_is_not_imported(site: Site, settings: Settings, name: str) -> None:
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager"))
    settings.DSN = {"DISABLED_PLUGINS": [name]}

    found = site.plugin("pager")

    assert found.state == "disabled"
    assert "DSN['DISABLED_PLUGINS']" in found.reason
    assert "acme_pager" not in sys.modules


def test_the_plugin_of_an_app_can_be_disabled_too(site: Site, settings: Settings) -> None:
    site.app("cinema", messenger_source("pager"))
    settings.DSN = {"DISABLED_PLUGINS": ["cinema"]}

    assert site.plugin("cinema").state == "disabled"
    assert "cinema.dsn_plugin" not in sys.modules


def test_a_distribution_without_a_summary_is_no_obstacle(site: Site) -> None:
    site.distribution(
        "acme-pager",
        {"pager": "acme_pager"},
        messenger_source("pager"),
        metadata="Metadata-Version: 2.1\nName: acme-pager\nVersion: 1.0\n",
    )

    found = site.plugin("pager")

    assert (found.state, found.candidate.distribution) == ("active", "acme-pager")


def test_a_distribution_without_metadata_is_no_obstacle(site: Site) -> None:
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager"))
    (site.folder / "acme_pager-1.0.dist-info" / "METADATA").unlink()

    found = site.plugin("pager")

    assert (found.state, found.candidate.distribution, found.candidate.version) == ("active", None, None)


def test_entry_points_that_cannot_be_read_hide_no_others(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager"))
    site.distribution("garbled", {})
    (site.folder / "garbled-1.0.dist-info" / "entry_points.txt").write_text("[dsn]\nno equals sign\n", encoding="utf-8")

    assert site.plugin("pager").state == "active"
    assert "cannot be read" in caplog.text


def test_an_entry_point_that_is_no_reference_is_broken(site: Site) -> None:
    site.distribution("acme-pager", {"pager": "not a reference!"})

    found = site.plugin("pager")

    assert found.state == "broken"
    assert "importing not a reference! raised " in found.reason


def test_loading_again_finds_each_plugin_once(site: Site) -> None:
    site.distribution("acme-pager", {"pager": "acme_pager"}, messenger_source("pager"))
    registry = site.load()
    names = [item.name for item in registry.plugins]

    registry.load()

    assert [item.name for item in registry.plugins] == names
    assert [item.faults for item in registry.plugins] == [[]] * len(names)
