"""Loads one plugin, strictly, so that whatever is wrong with it stays its own."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pluggy
from django.apps import apps

from dsn_core import hookspecs
from dsn_core.conf import Settings
from dsn_core.contracts.registrations import SignalRegistration
from dsn_core.exceptions import ContractError, nearest
from dsn_core.plugins.discovery import Candidate
from dsn_core.plugins.kinds import KINDS, Kind

State = Literal["active", "disabled", "not allowed", "broken"]


@dataclass(frozen=True)
class Fault:
    """Something wrong with a plugin. ``kind`` decides the id of the system check."""

    kind: Literal["broken", "misspelt", "duplicate"]
    message: str
    hint: str = ""


@dataclass
class Plugin:
    """A plugin that was found, and what became of it."""

    candidate: Candidate
    state: State = "active"
    reason: str = ""
    faults: list[Fault] = field(default_factory=list)
    #: What it registered and holds the name of, by the kind's plural.
    contributions: dict[str, list[Any]] = field(default_factory=lambda: {kind.plural: [] for kind in KINDS})
    hooks: pluggy.HookRelay | None = None

    @property
    def name(self) -> str:
        return self.candidate.name

    def broken(self, fault: Fault) -> None:
        """Mark it broken: nothing of it is used."""
        self.state, self.reason = "broken", fault.message
        self.faults.append(fault)
        self.hooks = None

    def template_dir(self) -> Path | None:
        """The ``templates`` folder of its package, unless an installed app covers it already."""
        module = self.candidate.module
        if self.state != "active" or apps.get_containing_app_config(module) is not None:
            return None
        spec = importlib.util.find_spec(module.partition(".")[0])
        for place in (spec.submodule_search_locations or []) if spec else []:
            if (folder := Path(place) / "templates").is_dir():
                return folder
        return None


def load(candidate: Candidate, settings: Settings) -> tuple[Plugin, dict[Kind, list[Any]]]:
    """Load ``candidate``, and return it with what it wants to register, by kind."""
    plugin = Plugin(candidate)
    if candidate.source != "builtin" and candidate.names & set(settings.DISABLED_PLUGINS):
        plugin.state, plugin.reason = "disabled", "It is listed in DSN['DISABLED_PLUGINS']."
        return plugin, {}
    if candidate.source == "entry_point" and settings.PLUGINS is not None and not candidate.names & set(settings.PLUGINS):
        plugin.state = "not allowed"
        plugin.reason = "It is not in the list DSN['PLUGINS']; it was not imported."
        return plugin, {}
    try:
        loaded = candidate.load()
    except Exception as error:
        plugin.broken(Fault("broken", f"importing {candidate.module} raised {describe(error)}", _mend(candidate)))
        return plugin, {}
    if missing := _missing_apps(loaded):
        lines = ", ".join(f"'{app}'" for app in missing)
        plugin.broken(Fault("broken", f"it needs {lines} in INSTALLED_APPS", f"Add {lines} to INSTALLED_APPS."))
        return plugin, {}
    if not _hook_up(plugin, loaded):
        return plugin, {}
    return plugin, _call_hooks(plugin)


def describe(error: BaseException) -> str:
    """An error in one line: its type and what it says."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _mend(candidate: Candidate) -> str:
    if candidate.distribution:
        return f"Upgrade or uninstall {candidate.distribution}, or list {candidate.name!r} in DSN['DISABLED_PLUGINS']."
    return f"Mend {candidate.module}, or list {candidate.name!r} in DSN['DISABLED_PLUGINS']."


def _missing_apps(loaded: Any) -> list[str]:
    required: Iterable[str] = getattr(loaded, "required_apps", ())
    return [app for app in required if not apps.is_installed(app)]


def _hook_up(plugin: Plugin, loaded: Any) -> bool:
    """Give the plugin a manager of its own: in a shared one, one raising hook would abort the call for all."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    known = {name for name in dir(hookspecs) if name.startswith("dsn_")}
    try:
        manager.register(loaded, plugin.name)
        for caller in manager.get_hookcallers(loaded) or []:
            if not caller.has_spec():
                plugin.broken(
                    Fault(
                        "misspelt",
                        f"it implements {caller.name}, which is no hook of dsn-core{nearest(caller.name, known)}",
                        f"The hooks are {', '.join(sorted(known))}.",
                    )
                )
        if plugin.faults:
            return False
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        plugin.broken(Fault("broken", f"a hook of it does not fit its specification: {describe(error)}"))
        return False
    plugin.hooks = manager.hook
    return True


def _call_hooks(plugin: Plugin) -> dict[Kind, list[Any]]:
    offered: dict[Kind, list[Any]] = {}
    for kind in KINDS:
        try:
            offered[kind] = [item for result in getattr(plugin.hooks, kind.hook)() for item in _checked(kind, result)]
        except Exception as error:
            said = str(error) if isinstance(error, ContractError) else f"{kind.hook}() raised {describe(error)}"
            plugin.broken(Fault("broken", said, _mend(plugin.candidate)))
            return {}
    return offered


def _checked(kind: Kind, result: Any) -> list[Any]:
    if isinstance(result, str | type) or not isinstance(result, Iterable):
        raise ContractError(f"{kind.hook}() returned {result!r}; it returns a list.")
    items = list(result)
    for item in items:
        if kind.base is SignalRegistration:
            if not isinstance(item, SignalRegistration):
                raise ContractError(f"{kind.hook}() returned {item!r}; it returns SignalRegistration objects.")
        elif not (isinstance(item, type) and issubclass(item, kind.base)):
            raise ContractError(f"{kind.hook}() returned {item!r}; it returns subclasses of {kind.base.__name__}.")
        else:
            item.check_contract()
    return items
