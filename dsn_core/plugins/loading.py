"""Loads one plugin, strictly, so that its errors affect no other."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import pluggy
from django.apps import apps

from dsn_core import hookspecs
from dsn_core._django import LazyReferences
from dsn_core.conf import Settings
from dsn_core.contracts.near_misses import near_misses
from dsn_core.contracts.registrations import SignalRegistration
from dsn_core.exceptions import ContractError, nearest
from dsn_core.plugins.calls import reraise_interrupt
from dsn_core.plugins.discovery import Candidate
from dsn_core.plugins.errors import describe, told
from dsn_core.plugins.kinds import KINDS, Kind

#: The names of all hooks.
HOOKS: Final = frozenset(name for name in vars(hookspecs) if name.startswith("dsn_"))

_OF_ATTRIBUTES: Final = (
    "Correct the name; one of the plugin's own begins with an underscore, or is used by the class itself."
)

State = Literal["active", "disabled", "not allowed", "broken"]


@dataclass(frozen=True)
class Fault:
    """Something wrong with a plugin. ``kind`` decides the id of the system check."""

    kind: Literal["broken", "misspelt", "duplicate"]
    message: str
    hint: str = ""
    #: The exception, for the log.
    error: BaseException | None = field(default=None, compare=False, repr=False)


@dataclass
class Plugin:
    """A plugin that was found, and the result of loading it."""

    candidate: Candidate
    state: State = "active"
    reason: str = ""
    faults: list[Fault] = field(default_factory=list)
    #: What it registered under names of its own, by the kind's plural.
    contributions: dict[str, list[Any]] = field(default_factory=lambda: {kind.plural: [] for kind in KINDS})
    hooks: pluggy.HookRelay | None = None

    @property
    def name(self) -> str:
        return self.candidate.name

    def broken(self, *faults: Fault) -> None:
        """Mark it broken: nothing of it is used."""
        self.faults.extend(faults)
        self.state, self.reason = "broken", "; ".join(fault.message for fault in self.faults)
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
    if candidate.source != "builtin" and candidate.is_meant_by(settings.DISABLED_PLUGINS):
        return Plugin(candidate, "disabled", "It is listed in DSN['DISABLED_PLUGINS']."), {}
    if not is_allowed(candidate, settings):
        return Plugin(candidate, "not allowed", "It is not in the list DSN['PLUGINS']; it was not imported."), {}
    plugin, references = Plugin(candidate), LazyReferences()
    loaded = _import(plugin)
    offered = _call_hooks(plugin) if loaded is not None and _hook_up(plugin, loaded) else {}
    if plugin.state == "broken":
        references.forget_later_ones()
    return plugin, offered


def _import(plugin: Plugin) -> Any:
    """The object that the plugin's entry point names; None when it is broken."""
    candidate, loaded, step = plugin.candidate, None, "importing"
    try:
        loaded = candidate.load()
        step = "inspecting"
        faults = [*_missing_apps(loaded), *_unmarked_hooks(loaded)]
    except BaseException as error:
        reraise_interrupt(error)
        said = f"{step} {candidate.module} raised {told(error, candidate.module)}"
        faults = [Fault("broken", said, _hint_of_import(candidate, error), error)]
    if not faults:
        return loaded
    plugin.broken(*faults)
    return None


def is_allowed(candidate: Candidate, settings: Settings) -> bool:
    """Whether ``DSN["PLUGINS"]`` allows to import it. Only entry points can be excluded."""
    return candidate.source != "entry_point" or settings.PLUGINS is None or candidate.is_meant_by(settings.PLUGINS)


def _way_out(candidate: Candidate) -> str:
    if candidate.distribution:
        return f"Upgrade or uninstall {candidate.distribution}, or list {candidate.name!r} in DSN['DISABLED_PLUGINS']."
    return f"Fix {candidate.module}, or list {candidate.name!r} in DSN['DISABLED_PLUGINS']."


def _hint_of_import(candidate: Candidate, error: BaseException) -> str:
    package = candidate.module.partition(".")[0]
    # Django's error when models are imported whose app is not installed.
    if isinstance(error, RuntimeError) and "INSTALLED_APPS" in str(error) and not apps.is_installed(package):
        return f"Add {package!r} to INSTALLED_APPS: it has models."
    return _way_out(candidate)


def _missing_apps(loaded: Any) -> Iterator[Fault]:
    required: Iterable[str] | str = getattr(loaded, "required_apps", ())
    wanted = [required] if isinstance(required, str) else list(required)
    if missing := [app for app in wanted if not apps.is_installed(app)]:
        lines = ", ".join(f"'{app}'" for app in missing)
        yield Fault("broken", f"it needs {lines} in INSTALLED_APPS", f"Add {lines} to INSTALLED_APPS.")


def _unmarked_hooks(loaded: Any) -> Iterator[Fault]:
    """Functions that are named like hooks but lack the mark, which pluggy ignores silently."""
    for name in sorted(HOOKS):
        function = getattr(loaded, name, None)
        if inspect.isroutine(function) and not hasattr(function, f"{hookspecs.PROJECT}_impl"):
            yield Fault("misspelt", f"its {name}() is not marked as a hook", f"Write @hookimpl above {name}().")


def _hook_up(plugin: Plugin, loaded: Any) -> bool:
    """Give the plugin a manager of its own: in a shared one, one raising hook would abort the call for all."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(loaded, plugin.name)
    except BaseException as error:
        reraise_interrupt(error)
        plugin.broken(Fault("broken", f"a hook of it does not fit its specification: {describe(error)}"))
        return False
    # check_pending() would name only the first. A hook that is marked as optional may be one of a later version.
    misspelt = [
        caller.name
        for caller in manager.get_hookcallers(loaded) or []
        if not caller.has_spec() and not all(item.optionalhook for item in caller.get_hookimpls())
    ]
    hint = f"The hooks are {', '.join(sorted(HOOKS))}."
    faults = [
        Fault("misspelt", f"it implements {name}, which is no hook of dsn-core{nearest(name, HOOKS)}", hint)
        for name in misspelt
    ]
    if faults:
        plugin.broken(*faults)
        return False
    plugin.hooks = manager.hook
    return True


def _call_hooks(plugin: Plugin) -> dict[Kind, list[Any]]:
    offered: dict[Kind, list[Any]] = {}
    for kind in KINDS:
        caller = getattr(plugin.hooks, kind.hook)
        try:
            results = caller()
            if len(results) < len(caller.get_hookimpls()):
                raise ContractError(f"{kind.hook}() returned None; it returns a list (is its 'return' missing?).")
            offered[kind] = [item for result in results for item in _checked(kind, result)]
            plugin.faults += [
                Fault("misspelt", f"its {kind.singular} {item.name} has {said}", _OF_ATTRIBUTES)
                for item in offered[kind]
                for said in _misspelt_attributes(kind, item)
            ]
        except BaseException as error:
            reraise_interrupt(error)
            by_contract = isinstance(error, ContractError)
            raised = told(error, plugin.candidate.module)
            said = str(error).rstrip(".") if by_contract else f"{kind.hook}() raised {raised}"
            plugin.broken(Fault("broken", said, _way_out(plugin.candidate), None if by_contract else error))
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
            _check_contract(kind, item)
    return items


def _check_contract(kind: Kind, cls: Any) -> None:
    try:
        cls.check_contract()
    except ContractError as error:
        if said := _misspelt_attributes(kind, cls):
            raise ContractError(f"{error} It has {'; '.join(said)}.") from error
        raise
    except Exception as error:
        # An attribute of an unexpected type. The class's name helps to find it.
        raise ContractError(f"{cls.__module__}.{cls.__qualname__} cannot be checked: {describe(error)}") from error


def _misspelt_attributes(kind: Kind, item: Any) -> list[str]:
    """The attributes of a class that nothing would read. The class may work, if not as its author meant."""
    misses = near_misses(item, kind.base) if isinstance(item, type) else ()
    return [f"{name!r}, which dsn-core does not read (did you mean {meant!r}?)" for name, meant in misses]
