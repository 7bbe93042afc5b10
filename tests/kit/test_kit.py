"""What the kit offers, and what importing it needs."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from dsn_core import Options, kit
from dsn_core.exceptions import ConfigurationError, InvalidAddress

PROGRAM = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("httpx", "httpcore", "regex"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())

from dsn_core import kit
from dsn_core.kit import http

assert kit.html_to_text("<p>one</p><p>two</p>") == "one\\n\\ntwo"
assert kit.describe(ValueError("no")) == "ValueError: no"
assert http.is_secure("https://example.org/") and http.seconds_of("7") == 7

for use in (
    lambda: kit.place_to_cut("one two", 4, between=[]),
    lambda: http.exchange(http.Request("GET", "http://127.0.0.1:1/"), timeout=1),
    lambda: http.check_request(http.Request("GET", "http://127.0.0.1:1/")),
):
    try:
        use()
    except Exception as error:
        print(type(error).__name__, error)

from django.apps import apps
from django.conf import settings

assert not settings.configured and not apps.ready
loaded = sorted(name for name in sys.modules if name.startswith(("dsn_core.models", "django.contrib")))
assert loaded == [], loaded
"""


def test_it_works_without_the_extras_and_without_django_being_set_up() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    environment["PYTHONPATH"] = os.fspath(settings.BASE_DIR)
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    needs = "ConfigurationError This needs {}, which is not installed: pip install 'dsn-core[{}]'."
    assert done.stdout.splitlines() == [
        needs.format("regex", "text"),
        needs.format("httpx", "http"),
        needs.format("httpx", "http"),
    ]


@pytest.mark.parametrize("name", kit.__all__)
def test_each_name_is_there_and_documented(name: str) -> None:
    found = getattr(kit, name)
    if inspect.isclass(found) or inspect.isfunction(found):
        assert inspect.getdoc(found), name


def test_causes_are_followed_also_where_they_are_hidden_and_round_in_a_circle() -> None:
    def fail() -> None:
        try:
            raise InvalidAddress("first")
        except InvalidAddress:
            raise ValueError("second") from None

    with pytest.raises(ValueError, match="second") as raised:
        fail()
    assert [type(error) for error in kit.causes_of(raised.value)] == [ValueError, InvalidAddress]
    assert list(kit.causes_of(None)) == []
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert len(list(kit.causes_of(first))) == 10


PLUGINS = sorted((Path(settings.BASE_DIR) / "plugins").glob("*/dsn_*/**/*.py"))


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: str(path.relative_to(settings.BASE_DIR)))
def test_plugins_import_public_names_only(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
        elif isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
    ours = {name for name in imported if name.partition(".")[0].startswith("dsn_")}
    own = path.relative_to(settings.BASE_DIR).parts[2]
    assert {name for name in ours if name.partition(".")[0] != own} <= {
        "dsn_core",
        "dsn_core.exceptions",
        "dsn_core.kit",
    }


# Accounts


def test_accounts_have_their_names_and_typed_options(settings: Any) -> None:
    settings.DSN = {
        "MESSENGERS": {
            "console": {"TIMEOUT": 3},
            "second": {"MESSENGER": "console", "TIMEOUT": 4},
            "first": {"MESSENGER": "console"},
            "other": {"MESSENGER": "memory"},
        }
    }
    assert kit.accounts_of("console") == ["console", "first", "second"]
    assert kit.accounts_of("fax") == []
    assert kit.options_of("second", "console", Options).TIMEOUT == 4


def test_a_messenger_without_options_has_its_own_name_as_an_account(settings: Any) -> None:
    settings.DSN = {}
    assert kit.options_of("console", "console", Options) == Options()


def test_accounts_that_cannot_be_used_say_why(settings: Any) -> None:
    class Own(Options):
        pass

    settings.DSN = {"MESSENGERS": {"slow": {"MESSENGER": "console", "TIMEOUT": 0}, "fax": {}}}
    for alias, messenger, said in (
        ("fax", "fax", "There is no messenger 'fax'"),
        ("nobody", "console", "has no account 'nobody' of the messenger 'console'"),
        ("slow", "console", r"DSN\['MESSENGERS'\]\['slow'\]: TIMEOUT must be more than 0"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            kit.options_of(alias, messenger, Options)
    with pytest.raises(ConfigurationError, match="another package's"):
        kit.options_of("console", "console", Own)
