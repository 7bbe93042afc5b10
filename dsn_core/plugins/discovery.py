"""Where plugins come from: the built-in one, installed apps, entry points.

Nothing is imported here but the ``dsn_plugin`` modules' parents; :mod:`dsn_core.plugins.loading`
imports what the settings allow.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import importlib_metadata
from django.apps import apps

from dsn_core.hookspecs import PROJECT

Source = Literal["builtin", "app", "entry_point"]

BUILTIN_MODULE = "dsn_core.builtin.plugin"
APP_MODULE = "dsn_plugin"


@dataclass(frozen=True)
class Candidate:
    """A plugin that was found, not yet imported. ``module`` is what it would import."""

    name: str
    source: Source
    module: str
    load: Callable[[], Any]
    distribution: str | None = None
    version: str | None = None
    summary: str = ""

    @property
    def label(self) -> str:
        """How messages name it: with its distribution where it has one."""
        if self.distribution:
            return f"{self.name} ({self.distribution} {self.version})"
        return {"builtin": "the built-in plugin", "app": f"the app {self.name}"}.get(self.source, self.name)

    @property
    def names(self) -> set[str]:
        """The spellings by which settings can mean it."""
        return {self.name, f"{self.distribution}:{self.name}"} if self.distribution else {self.name}


def candidates() -> list[Candidate]:
    """All plugins that can be found, those that win a name conflict first."""
    return [_builtin(), *_from_apps(), *sorted(_from_entry_points(), key=lambda item: (item.distribution or "", item.name))]


def _builtin() -> Candidate:
    own = next((item for item in importlib_metadata.distributions(name="dsn-core")), None)
    return Candidate(
        name="builtin",
        source="builtin",
        module=BUILTIN_MODULE,
        load=lambda: importlib.import_module(BUILTIN_MODULE),
        distribution="dsn-core",
        version=own.version if own else None,
        summary="What comes with dsn-core itself.",
    )


def _from_apps() -> Iterator[Candidate]:
    for config in apps.get_app_configs():
        module = f"{config.name}.{APP_MODULE}"
        if importlib.util.find_spec(module) is not None:
            yield Candidate(
                name=config.label,
                source="app",
                module=module,
                load=lambda module=module: importlib.import_module(module),  # type: ignore[misc]
                summary=str(config.verbose_name),
            )


def _from_entry_points() -> Iterator[Candidate]:
    for entry_point in importlib_metadata.entry_points(group=PROJECT):
        distribution = entry_point.dist
        yield Candidate(
            name=entry_point.name,
            source="entry_point",
            module=entry_point.module,
            load=entry_point.load,
            distribution=distribution.name if distribution else None,
            version=distribution.version if distribution else None,
            summary=(distribution.metadata["Summary"] or "") if distribution else "",
        )
