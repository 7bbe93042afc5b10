"""Discovery of plugins: the built-in one, those of installed apps, and entry points.

It imports nothing except the parents of the ``dsn_plugin`` modules; :mod:`dsn_core.plugins.loading` imports what the
settings allow.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import importlib_metadata
from django.apps import apps

from dsn_core.hookspecs import PROJECT

logger = logging.getLogger("dsn_core.plugins")

Source = Literal["builtin", "app", "entry_point"]

BUILTIN_MODULE = "dsn_core.builtin.plugin"
APP_MODULE = "dsn_plugin"


@dataclass(frozen=True)
class Candidate:
    """A plugin that was found, but not imported.

    ``module`` is the module to import; ``attribute`` the attribute of it to use, if not the module itself.
    """

    name: str
    source: Source
    module: str
    load: Callable[[], Any]
    attribute: str = ""
    distribution: str | None = None
    version: str | None = None

    @property
    def label(self) -> str:
        """Its name in messages: with its distribution, if it has one."""
        if self.distribution:
            return f"{self.name} ({' '.join(filter(None, [self.distribution, self.version]))})"
        return f"{self.name} (app)" if self.source == "app" else self.name

    @property
    def spellings(self) -> set[str]:
        """Its names in settings, for messages only. :meth:`is_meant_by` decides whether an item names it."""
        return {self.name, f"{self.distribution}:{self.name}"} if self.distribution else {self.name}

    def is_meant_by(self, items: Iterable[str]) -> bool:
        """Whether one of ``items``, each ``name`` or ``distribution:name``, names it.

        The item is split before it is compared: another package may call its entry point ``dsn-email:email``, which as
        one text would be the same as the entry point ``email`` of dsn-email.
        """
        for item in items:
            distribution, colon, name = item.partition(":")
            if not colon and item == self.name:
                return True
            # A package without metadata has no distribution to compare.
            if colon and distribution and (distribution, name) == (self.distribution, self.name):
                return True
        return False


def candidates() -> list[Candidate]:
    """All plugins that can be found, those that win a name conflict first."""
    own = next((item for item in importlib_metadata.distributions(name="dsn-core")), None)
    builtin = _of_module(
        BUILTIN_MODULE,
        name="builtin",
        source="builtin",
        distribution="dsn-core",
        version=own.version if own else None,
    )
    from_apps = [
        _of_module(module, name=config.label, source="app")
        for config in apps.get_app_configs()
        if _exists(module := f"{config.name}.{APP_MODULE}")
    ]
    from_entry_points = map(_of_entry_point, _entry_points())
    return [builtin, *from_apps, *sorted(from_entry_points, key=lambda item: (item.distribution or "", item.name))]


def _of_module(module: str, **more: Any) -> Candidate:
    return Candidate(module=module, load=functools.partial(importlib.import_module, module), **more)


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        # The app is a module, not a package.
        return False


def _of_entry_point(entry_point: importlib_metadata.EntryPoint) -> Candidate:
    try:
        module, attribute = entry_point.module, entry_point.attr or ""
    except (ValueError, AttributeError):
        # An invalid reference, which loading reports as the plugin's fault.
        module, attribute = entry_point.value, ""
    distribution, version = _metadata(entry_point.dist)
    return Candidate(
        name=entry_point.name,
        source="entry_point",
        module=module,
        attribute=attribute,
        load=entry_point.load,
        distribution=distribution,
        version=version,
    )


def _entry_points() -> list[importlib_metadata.EntryPoint]:
    try:
        return list(importlib_metadata.entry_points(group=PROJECT))
    except Exception:
        # An installed package, perhaps an unrelated one, has metadata that cannot be read. That must not hide the
        # plugins of other packages, so the packages are read one by one.
        return list(_readable_entry_points())


def _readable_entry_points() -> Iterator[importlib_metadata.EntryPoint]:
    seen = set()
    for distribution in importlib_metadata.distributions():
        try:
            name, found = distribution.name, distribution.entry_points.select(group=PROJECT)
        except Exception as error:
            logger.warning("The entry points of an installed package cannot be read, and are left out: %s", error)
            continue
        # As in importlib_metadata: the first of two copies on the path counts.
        if name not in seen:
            seen.add(name)
            yield from found


def _metadata(distribution: Any) -> tuple[str | None, str | None]:
    """Name and version, if there are any: partly removed packages have an empty folder."""
    try:
        return distribution.name, distribution.version
    except Exception:
        return None, None
