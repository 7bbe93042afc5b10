"""Checks of the installed plugins, messengers and message templates. None runs a query."""

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

_IDS: Final = {"broken": "dsn.W010", "misspelt": "dsn.W011", "duplicate": "dsn.W012"}


def check_plugins(registry: Registry = registry, **kwargs: Any) -> list[checks.CheckMessage]:
    """The plugins and their classes: W010 to W012, W021 and W022. Never an error, which would stop the site."""
    return [*fault_messages(registry), *_of_templates(registry), *_unknown_accounts(registry)]


def fault_messages(registry: Registry) -> list[checks.CheckMessage]:
    """W010 to W012: one warning for each fault of a plugin."""
    return [
        checks.Warning(
            f"Plugin {plugin.candidate.label}: {fault.message}.", hint=fault.hint or None, id=_IDS[fault.kind]
        )
        for plugin in registry.plugins
        for fault in plugin.faults
    ]


def messenger_messages(registry: Registry) -> dict[str, list[checks.CheckMessage]]:
    """What is wrong with each messenger and account, by name: W020, or the messages of its own check."""
    return {
        item.name: [
            # A messenger's own messages have their own ids, for SILENCED_SYSTEM_CHECKS.
            finding if isinstance(finding, checks.CheckMessage) else _not_configured(entry, item, finding)
            for finding in item.findings
        ]
        for entry in inventory.take(registry)
        for item in entry.items[MESSENGERS.plural]
        if not item.spare
    }


def ready_messengers(registry: Registry) -> list[str]:
    """The messengers and accounts that can send."""
    return [item.name for entry in inventory.take(registry) for item in entry.items[MESSENGERS.plural] if item.ready]


def as_warning(message: checks.CheckMessage) -> checks.CheckMessage:
    """``message``, or a warning instead of an error: a plugin's fault must not stop the site."""
    if not message.is_serious():
        return message
    return checks.Warning(message.msg, hint=message.hint, obj=message.obj, id=message.id)


def _not_configured(entry: Entry, item: Item, finding: str) -> checks.CheckMessage:
    hint = f"Set its options in DSN['MESSENGERS'][{item.name!r}]"
    if entry.source != "builtin":
        hint += f", or add {entry.name!r} to DSN['DISABLED_PLUGINS'] if you do not want it"
    message = f"The messenger {item.name!r} is not configured: {finding.rstrip('.')}."
    return checks.Warning(message, hint=f"{hint}.", id="dsn.W020")


def _of_templates(registry: Registry) -> Iterator[checks.CheckMessage]:
    for entry in inventory.take(registry):
        for item in entry.items[MESSAGE_TEMPLATES.plural]:
            if not item.ready:
                yield checks.Warning(
                    f"The message template {item.name!r} of the plugin {entry.name} cannot be compiled: {item.reason}.",
                    hint="Until it is fixed, deliveries that use it fail with this reason.",
                    id="dsn.W022",
                )


def _unknown_accounts(registry: Registry) -> Iterator[checks.CheckMessage]:
    # An account of an account does not work, so only messengers count.
    known = [name for name in registry.names(MESSENGERS) if registry.account_of(name) == name]
    for alias in conf.current().MESSENGERS:
        if (name := registry.account_of(alias)) not in known:
            yield checks.Warning(
                f"DSN['MESSENGERS'][{alias!r}]: {UnknownName(MESSENGERS.singular, name, known)}",
                hint="Correct the name, or install the plugin that provides it; 'manage.py dsn_plugins' lists what is "
                "installed. An account needs the option MESSENGER, the name of its messenger.",
                id="dsn.W021",
            )
