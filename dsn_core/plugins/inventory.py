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
from dsn_core.plugins.discovery import Source
from dsn_core.plugins.errors import told
from dsn_core.plugins.kinds import (
    MESSAGE_TEMPLATES,
    MESSENGERS,
    RECEIVER_FILTERS,
    RECEIVER_RESOLVERS,
    RUNNERS,
    SIGNALS,
    Kind,
)
from dsn_core.plugins.loading import Fault, Plugin, State
from dsn_core.plugins.registry import Registry

#: The kinds that are listed, in this order.
LISTED: Final = (MESSENGERS, MESSAGE_TEMPLATES, RECEIVER_RESOLVERS, RECEIVER_FILTERS, SIGNALS, RUNNERS)


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

    @property
    def unconfigured(self) -> bool:
        """Whether it must still be configured."""
        return not self.ready and not self.spare

    def as_dict(self) -> dict[str, Any]:
        """Its form in JSON."""
        return {"name": self.name, "description": self.description, "ready": self.ready, "reason": self.reason}


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
        return [item for items in self.items.values() for item in items if item.unconfigured]

    def as_dict(self) -> dict[str, Any]:
        """Its form in JSON."""
        return {
            "name": self.name,
            "distribution": self.distribution,
            "version": self.version,
            "source": self.source,
            "state": self.state,
            "reason": self.reason,
            **{kind.plural: [item.as_dict() for item in self.items[kind.plural]] for kind in LISTED},
        }


def take(registry: Registry) -> list[Entry]:
    """All plugins that were found, in the order in which they were loaded."""
    return [_entry(registry, plugin) for plugin in registry.plugins]


def as_dict(entries: list[Entry]) -> dict[str, Any]:
    """The output of ``dsn_plugins --format json``."""
    return {"plugins": [entry.as_dict() for entry in entries]}


def _entry(registry: Registry, plugin: Plugin) -> Entry:
    candidate = plugin.candidate
    # An active plugin has a reason, too, if another plugin has one of its names.
    reason = plugin.reason or "; ".join(fault.message for fault in plugin.faults)
    return Entry(
        name=plugin.name,
        distribution=candidate.distribution,
        version=candidate.version,
        source=candidate.source,
        state=plugin.state,
        reason=reason,
        items={kind.plural: list(_items(registry, plugin, kind)) for kind in LISTED},
        faults=tuple(plugin.faults),
    )


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
    ready, said = True, []
    for finding in findings:
        if isinstance(finding, checks.CheckMessage):
            if finding.level < checks.WARNING or finding.is_silenced():
                continue
            ready = ready and finding.level < checks.ERROR
            said.append(_line(finding.msg))
        else:
            ready = False
            said.append(_line(finding))
    reason = "; ".join(text.rstrip(".") for text in said)
    return Item(alias, description, ready, reason, may_be_spare and not ready, tuple(findings))


def _template_reason(cls: Any) -> str:
    """Why the message template ``cls`` cannot be used; empty when it can. Compiles it."""
    try:
        cls.compile()
    except DSNError as error:
        return _line(error).rstrip(".")
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return told(error, cls)
    return ""


def _line(text: object) -> str:
    """``text`` as one line."""
    return " ".join(str(text).split()) if text else ""
