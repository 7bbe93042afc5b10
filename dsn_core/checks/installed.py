"""Checks of what is installed. None asks the database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from django.core import checks

from dsn_core import conf
from dsn_core.exceptions import UnknownName
from dsn_core.plugins import inventory
from dsn_core.plugins.inventory import Entry, Item
from dsn_core.plugins.kinds import MESSAGE_TEMPLATES, MESSENGERS
from dsn_core.plugins.registry import Registry, registry

_IDS: Final = {"broken": "dsn.E010", "misspelt": "dsn.E011", "duplicate": "dsn.E012"}


def check_plugins(**kwargs: Any) -> list[checks.CheckMessage]:
    """The plugins and what they bring: E010 to E012, W020 to W022."""
    return messages(registry)


def messages(registry: Registry) -> list[checks.CheckMessage]:
    """The same of any registry."""
    found: list[checks.CheckMessage] = []
    for plugin in registry.plugins:
        for fault in plugin.faults:
            text = f"Plugin {plugin.candidate.label}: {fault.message}."
            found.append(checks.Error(text, hint=fault.hint or None, id=_IDS[fault.kind]))
    for entry in inventory.take(registry):
        found += _of_messengers(entry)
        found += _of_templates(entry)
    return [*found, *_unknown_accounts(registry)]


def _of_messengers(entry: Entry) -> Iterator[checks.CheckMessage]:
    for item in entry.items[MESSENGERS.plural]:
        if item.spare:
            continue
        for finding in item.findings:
            # A messenger's own messages have their own ids, and are silenced by these.
            yield finding if isinstance(finding, checks.CheckMessage) else _not_configured(entry, item, finding)


def _not_configured(entry: Entry, item: Item, finding: str) -> checks.CheckMessage:
    hint = f"Set its options in DSN['MESSENGERS'][{item.name!r}]"
    hint += f", or add {entry.name!r} to DSN['DISABLED_PLUGINS'] if you do not want it." if _can_go(entry) else "."
    message = f"The messenger {item.name!r} is not configured: {finding.rstrip('.')}."
    return checks.Warning(message, hint=hint, id="dsn.W020")


def _can_go(entry: Entry) -> bool:
    return entry.source != "builtin"


def _of_templates(entry: Entry) -> Iterator[checks.CheckMessage]:
    for item in entry.items[MESSAGE_TEMPLATES.plural]:
        if not item.ready:
            yield checks.Warning(
                f"The message template {item.name!r} of the plugin {entry.name} cannot be compiled: {item.reason}.",
                hint="Until it is mended, deliveries that use it fail with this reason.",
                id="dsn.W022",
            )


def _unknown_accounts(registry: Registry) -> Iterator[checks.CheckMessage]:
    # An account of an account does not work: only messengers themselves count.
    known = [name for name in registry.names(MESSENGERS) if registry.account_of(name) == name]
    for alias in conf.current().MESSENGERS:
        if (name := registry.account_of(alias)) in known:
            continue
        yield checks.Warning(
            f"DSN['MESSENGERS'][{alias!r}]: {UnknownName(MESSENGERS.singular, name, known)}",
            hint="Correct the name, or install the plugin that brings it; 'manage.py dsn_plugins' lists what is there. "
            "An account needs the option MESSENGER, which says whose account it is.",
            id="dsn.W021",
        )
