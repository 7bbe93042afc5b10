"""The reference is complete: whatever a user can name has its entry, and no entry is about nothing."""

from __future__ import annotations

import ast
import dataclasses
import re

import pytest
from django.core.management import load_command_class
from django.core.management.base import BaseCommand
from django.dispatch import Signal

import dsn_core
from dsn_core import Options, exceptions, hookspecs, kit, models, signals
from dsn_core.builtin import django_signals
from dsn_core.builtin import plugin as builtin
from dsn_core.conditions.operators import OPERATORS
from dsn_core.conf import Settings
from dsn_core.kit import database, http, http_rules
from dsn_core.plugins.kinds import KINDS
from tests.docs.literate import DISTRIBUTIONS, ROOT

REFERENCE = ROOT / "docs/reference"


def read(page: str) -> str:
    return (REFERENCE / page).read_text(encoding="utf-8")


def headings(page: str) -> set[str]:
    return set(re.findall(r"^## (.+)$", read(page), re.MULTILINE))


HOOKS = sorted(name for name in vars(hookspecs) if name.startswith("dsn_"))


@pytest.mark.parametrize("hook", HOOKS)
def test_hook_is_documented(hook: str) -> None:
    assert hook in headings("hooks.md")


def test_no_hook_is_documented_that_does_not_exist() -> None:
    assert {name for name in headings("hooks.md") if name.startswith("dsn_")} == set(HOOKS)
    assert {kind.hook for kind in KINDS} < set(HOOKS)


def documented_settings() -> dict[str, str]:
    """The settings that have an entry, with the default that it gives."""
    return dict(re.findall(r"^`([A-Z_]+)`\n: Default `([^`]+)`", read("settings.md"), re.MULTILINE))


@pytest.mark.parametrize("field", dataclasses.fields(Settings), ids=lambda field: field.name)
def test_setting_is_documented_with_its_default(field: dataclasses.Field[object]) -> None:
    documented = documented_settings()
    assert field.name in documented
    default = field.default if field.default is not dataclasses.MISSING else field.default_factory()  # type: ignore[misc]
    said = ast.literal_eval(documented[field.name])
    assert said == (list(default) if isinstance(default, tuple) else default)


def test_no_setting_is_documented_that_does_not_exist() -> None:
    assert set(documented_settings()) == {field.name for field in dataclasses.fields(Settings)}


def test_system_checks_and_their_entries_are_the_same() -> None:
    sources = [
        path.read_text(encoding="utf-8")
        for folder in ("checks", "runners")
        for path in (ROOT / "dsn_core" / folder).glob("*.py")
    ]
    given = {found for source in sources for found in re.findall(r"""["'](dsn\.[EWI]\d{3})["']""", source)}
    assert given, "the checks have ids"
    assert set(re.findall(r"^\| `(dsn\.[EWI]\d{3})` \|", read("checks.md"), re.MULTILINE)) == given


COMMANDS = sorted(
    path.stem for path in (ROOT / "dsn_core/management/commands").glob("*.py") if not path.stem.startswith("_")
)


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_documented_with_its_options(name: str) -> None:
    assert name in headings("commands.md")
    _, _, section = read("commands.md").partition(f"## {name}\n")
    section = section.partition("\n## ")[0]
    ours = _options(load_command_class("dsn_core", name)) - _options(BaseCommand())
    assert {option for option in ours if f"`{option}" not in section} == set()


def _options(command: BaseCommand) -> set[str]:
    parser = command.create_parser("manage.py", "command")
    return {option for action in parser._actions for option in action.option_strings}


def test_no_command_is_documented_that_does_not_exist() -> None:
    assert headings("commands.md") == set(COMMANDS)


def test_verbs_are_documented_with_what_they_provide() -> None:
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \|([^|]*)\|$", read("verbs.md"), re.MULTILINE)
    documented: dict[str, list[str] | None] = {}
    previous: list[str] | None = None
    for verb, cell in rows:
        if cell.strip() != "the same":
            previous = None if "not known" in cell else re.findall(r"`(\w+)`", cell)
        documented[verb] = previous
    registered = {
        item.name: None if item.provides is None else list(item.provides) for item in django_signals.registrations()
    }
    # Some come with a later Django than this one.
    later = {verb for verb in documented if verb.startswith("task_") and verb not in registered}
    assert later in (set(), {"task_enqueued", "task_started", "task_finished"})
    assert {verb: provided for verb, provided in documented.items() if verb not in later} == registered


@pytest.mark.parametrize("name", dsn_core.__all__)
def test_public_name_is_documented(name: str) -> None:
    assert re.search(rf"^\.\. (autoclass|autofunction|data):: {name}$", read("contracts.md"), re.MULTILINE)


KIT = [
    *kit.__all__,
    *(
        name
        for module in (http, http_rules, database)
        for name, item in vars(module).items()
        if name[0] != "_" and callable(item) and getattr(item, "__module__", "") == module.__name__
    ),
]


def test_the_kit_s_rules_for_http_are_imported_from_http() -> None:
    assert [name for name in KIT if hasattr(http_rules, name) and name not in http.__all__] == []


@pytest.mark.parametrize("name", KIT)
def test_name_of_the_kit_is_documented(name: str) -> None:
    assert re.search(rf"^\.\. (autoclass|autofunction|data):: {name}$", read("kit.md"), re.MULTILINE)


@pytest.mark.parametrize(
    "name",
    sorted(name for name, item in vars(exceptions).items() if isinstance(item, type) and issubclass(item, Exception)),
)
def test_exception_is_documented(name: str) -> None:
    assert re.search(rf":members:.*\b{name}\b", read("exceptions.md"))


@pytest.mark.parametrize("name", sorted(name for name, item in vars(signals).items() if isinstance(item, Signal)))
def test_signal_that_we_send_is_documented(name: str) -> None:
    assert f"`{name}`" in read("signals.md")


@pytest.mark.parametrize("name", models.__all__)
def test_model_is_documented(name: str) -> None:
    assert name in headings("models.md")


@pytest.mark.parametrize(
    "name", [field.name for model in (models.Event, models.Delivery) for field in model._meta.fields]
)
def test_column_of_what_happened_is_documented(name: str) -> None:
    internal = {"id", "payload", "lease_token", "address_key"}
    assert name in internal or f"`{name}`" in read("models.md")


@pytest.mark.parametrize("status", models.Delivery.Status.values)
def test_status_is_explained(status: str) -> None:
    explained = (ROOT / "docs/explanation/delivery.md").read_text(encoding="utf-8")
    assert re.search(rf"^\| `{status}` \|", explained, re.MULTILINE)
    drawn = (ROOT / "docs/images/states.svg").read_text(encoding="utf-8")
    assert f">{status}</text>" in drawn


@pytest.mark.parametrize("name", OPERATORS)
def test_operator_of_conditions_is_documented(name: str) -> None:
    assert re.search(
        rf"^\|.*`{name}`.* \|", (ROOT / "docs/howto/conditions.md").read_text(encoding="utf-8"), re.MULTILINE
    )


@pytest.mark.parametrize("name", [cls.name for cls in builtin.dsn_runners()])
def test_runner_that_comes_along_is_documented(name: str) -> None:
    _, _, entry = read("settings.md").partition("`RUNNER`\n: ")
    assert f"`{name}`" in entry.partition("\n\n")[0]


def options_of_plugins(base: type[Options] = Options) -> set[tuple[str, str]]:
    """Each option that our plugins add: the plugin's folder, and the option's name."""
    found = set().union(*map(options_of_plugins, base.__subclasses__()))
    package = base.__module__.partition(".")[0]
    folders = [folder.name for folder in DISTRIBUTIONS[1:] if folder.name.replace("-", "_") == package]
    return found | {
        (folder, name)
        for folder in folders
        for name, kind in vars(base)["__annotations__"].items()
        if name.isupper() and "ClassVar" not in str(kind)
    }


@pytest.mark.parametrize(("plugin", "name"), sorted(options_of_plugins()))
def test_option_of_a_plugin_is_documented(plugin: str, name: str) -> None:
    readme = (ROOT / "plugins" / plugin / "README.md").read_text(encoding="utf-8")
    assert re.search(rf"^\|.*`{name}`.* \|", readme, re.MULTILINE)


def test_glossary_has_the_kinds_of_plugin_classes_and_is_sorted() -> None:
    text = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
    terms = re.findall(r"^([a-z][a-z -]*)$", text, re.MULTILINE)
    assert {kind.singular for kind in KINDS} <= set(terms)
    assert terms == sorted(terms)
