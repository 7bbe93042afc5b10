"""The inventory of installed plugins as plain data, for ``dsn_plugins`` and the system checks.

It reads the registry and the settings, never the database, and never raises: an error of a plugin becomes the reason
why something of it is not ready.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from django.core import checks

from dsn_core import conf
from dsn_core.exceptions import DSNError
from dsn_core.plugins.calls import reraise_interrupt
from dsn_core.plugins.discovery import Source
from dsn_core.plugins.errors import told
from dsn_core.plugins.kinds import CODECS, KINDS, MESSAGE_TEMPLATES, MESSENGERS, Kind
from dsn_core.plugins.loading import Fault, Plugin, State
from dsn_core.plugins.registry import Registry

#: The kinds that are listed, in this order.
LISTED: Final = tuple(kind for kind in KINDS if kind is not CODECS)


@dataclass(frozen=True)
class Item:
    """A class or signal of a plugin. ``reason`` says why it is not ready, or holds its warnings.

    ``spare``: it is not ready and need not be, since the project uses its accounts instead.
    ``findings``: errors and warnings about a messenger's options, and those of its ``check``.
    """

    name: str
    description: str
    ready: bool = True
    reason: str = ""
    spare: bool = False
    findings: tuple[checks.CheckMessage | str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A plugin that was found. ``distribution`` and ``version`` are None for apps."""

    name: str
    distribution: str | None
    version: str | None
    source: Source
    state: State
    reason: str
    items: dict[str, list[Item]]
    faults: tuple[Fault, ...] = ()

    @property
    def unconfigured(self) -> list[Item]:
        """Its items that must still be configured."""
        return [item for items in self.items.values() for item in items if not (item.ready or item.spare)]


def take(registry: Registry) -> list[Entry]:
    """All plugins that were found, in the order in which they were loaded."""
    return [
        Entry(
            name=plugin.name,
            distribution=plugin.candidate.distribution,
            version=plugin.candidate.version,
            source=plugin.candidate.source,
            state=plugin.state,
            # An active plugin has a reason, too, if another plugin has one of its names.
            reason=plugin.reason or "; ".join(fault.message for fault in plugin.faults),
            items={kind.plural: list(_items(registry, plugin, kind)) for kind in LISTED},
            faults=tuple(plugin.faults),
        )
        for plugin in registry.plugins
    ]


def as_dict(entries: list[Entry]) -> dict[str, Any]:
    """The output of ``dsn_plugins --format json``."""
    return {
        "plugins": [
            _without(entry, "items", "faults")
            | {kind: [_without(item, "spare", "findings") for item in items] for kind, items in entry.items.items()}
            for entry in entries
        ]
    }


def _without(found: Entry | Item, *fields: str) -> dict[str, Any]:
    return {name: value for name, value in vars(found).items() if name not in fields}


def _items(registry: Registry, plugin: Plugin, kind: Kind) -> Iterator[Item]:
    for found in plugin.contributions[kind.plural]:
        if kind is MESSENGERS:
            yield from _messengers(registry, found)
        else:
            reason = _template_reason(found) if kind is MESSAGE_TEMPLATES else ""
            yield Item(found.name, _line(found.description), not reason, reason)


def _messengers(registry: Registry, cls: Any) -> Iterator[Item]:
    """The messenger, followed by its accounts."""
    configured = conf.current().MESSENGERS
    accounts = [alias for alias in configured if alias != cls.name and registry.account_of(alias) == cls.name]
    if (other := registry.account_of(cls.name)) != cls.name:
        # For example to print messages on the console during development.
        reason = f"DSN['MESSENGERS'][{cls.name!r}] makes this name an account of {other!r}"
        yield Item(cls.name, _line(cls.description), ready=False, reason=reason, spare=True)
    else:
        only_accounts = bool(accounts) and cls.name not in configured
        yield _messenger(registry, cls.name, _line(cls.description), may_be_spare=only_accounts)
    for alias in accounts:
        yield _messenger(registry, alias, f"An account of {cls.name}.")


def _messenger(registry: Registry, alias: str, description: str, *, may_be_spare: bool = False) -> Item:
    """A messenger or account, without findings that are silenced or below warnings.

    It is ready if its ``check`` returns warnings, and not ready with errors.
    """
    findings = registry.messenger_findings(alias)
    # Texts are always errors.
    counted = [
        (checks.ERROR, finding) if isinstance(finding, str) else (finding.level, finding.msg)
        for finding in findings
        if isinstance(finding, str) or (finding.level >= checks.WARNING and not finding.is_silenced())
    ]
    ready = all(level < checks.ERROR for level, _ in counted)
    reason = "; ".join(_line(said).rstrip(".") for _, said in counted)
    return Item(alias, description, ready, reason, may_be_spare and not ready, tuple(findings))


def _template_reason(cls: Any) -> str:
    """Why the message template ``cls`` cannot be used; empty when it can. Compiles it."""
    try:
        cls.compile()
    except DSNError as error:
        return _line(error).rstrip(".")
    except BaseException as error:
        reraise_interrupt(error)
        return told(error, cls)
    return ""


def _line(text: object) -> str:
    return " ".join(str(text).split()) if text else ""
