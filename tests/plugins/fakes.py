"""Distributions and apps made on disk, so that they are discovered and imported as real ones are."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.apps import AppConfig, apps

from dsn_core.plugins import discovery
from dsn_core.plugins.catalogue import Catalogue
from dsn_core.plugins.loading import Plugin
from dsn_core.plugins.registry import Registry

#: The folder of the repository's own plugins.
PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
#: What the modules of plugins begin with.
IMPORTS = """
from dataclasses import dataclass
from django.core.checks import Error, Info, Warning
from django.dispatch import Signal
from dsn_core import *
"""


def messenger_source(name: str, attributes: str = "pass", options: str = "") -> str:
    """The source of a plugin with one messenger that answers 'sent'. ``options`` are fields of its options."""
    fields = f"@dataclass(frozen=True, kw_only=True)\nclass Given(Options):\n    {options}\n" if options else ""
    return f"""
{fields}
class Fake(BaseMessenger):
    \"\"\"Sends by {name}.\"\"\"

    name = {name!r}
    {"Options = Given" if options else ""}
    {attributes}

    def send_messages(self, messages):
        return [Receipt.sent() for message in messages]

@hookimpl
def dsn_messengers():
    return [Fake]
"""


class Site:
    """A folder on ``sys.path`` into which a test installs what it needs."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch
        monkeypatch.syspath_prepend(folder)

    def module(self, name: str, source: str) -> None:
        """Write the module ``name``; the packages that it is in are made."""
        *packages, last = name.split(".")
        place = self.folder.joinpath(*packages)
        place.mkdir(parents=True, exist_ok=True)
        for depth in range(1, len(packages) + 1):
            self.folder.joinpath(*packages[:depth], "__init__.py").touch()
        (place / f"{last}.py").write_text(IMPORTS + textwrap.dedent(source), encoding="utf-8")
        importlib.invalidate_caches()

    def distribution(
        self,
        name: str,
        entry_points: Mapping[str, str],
        source: str | None = None,
        *,
        version: str = "1.0",
        metadata: str | None = None,
    ) -> None:
        """Install the distribution ``name``; with ``source``, also the one module that its entry points name."""
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        if metadata is None:
            metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: What {name} is.\n"
        (info / "METADATA").write_text(metadata, encoding="utf-8")
        lines = [f"{key} = {value}" for key, value in entry_points.items()]
        (info / "entry_points.txt").write_text("\n".join(["[dsn]", *lines, ""]), encoding="utf-8")
        importlib.invalidate_caches()
        if source is not None:
            (value,) = set(entry_points.values())
            self.module(value.partition(":")[0], source)

    def app(self, name: str, source: str) -> None:
        """Install the app ``name`` with ``source`` as its ``dsn_plugin.py``."""
        self.module(f"{name}.dsn_plugin", source)
        # Overriding INSTALLED_APPS would call ready() of all apps once more.
        self._monkeypatch.setitem(apps.app_configs, name, AppConfig.create(name))

    def load(self) -> Registry:
        """A registry of its own, with all that is installed."""
        registry = Registry(Catalogue())
        registry.load()
        return registry

    def plugin(self, name: str) -> Plugin:
        """The plugin ``name``, in a registry of its own."""
        return plugin(self.load(), name)


def plugin(registry: Registry, name: str) -> Plugin:
    """The one plugin called ``name``."""
    (found,) = [item for item in registry.plugins if item.name == name]
    return found


@contextmanager
def make_site(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site whose modules are forgotten afterwards, and where nothing else is installed."""
    before = set(sys.modules)
    # The repository's own plugins are installed beside, and not configured.
    ours = tuple(folder.name.replace("-", "_") for folder in PLUGINS.iterdir())
    found = discovery._entry_points
    monkeypatch.setattr(
        discovery, "_entry_points", lambda: [item for item in found() if not item.value.startswith(ours)]
    )
    try:
        yield Site(folder, monkeypatch)
    finally:
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
                del sys.modules[name]
