"""The choices of forms: the names of what is installed, each with its description."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from django.apps import apps
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext as _

from dsn_core import references
from dsn_core.exceptions import ConfigurationError, DSNError, UnknownName
from dsn_core.models import Trigger
from dsn_core.plugins.catalogue import catalogue
from dsn_core.plugins.kinds import MESSAGE_TEMPLATES, MESSENGERS, RECEIVER_RESOLVERS
from dsn_core.plugins.profiles import STORED_ADDRESS
from dsn_core.plugins.registry import registry

#: Pairs of stored name and label.
Choices: TypeAlias = list[tuple[str, str]]


def offer(choices: Choices, stored: str, *, is_installed: Callable[[str], bool], nothing: str) -> Choices:
    """The empty choice, ``choices``, and the ``stored`` value if it is none of them."""
    offered = [("", nothing), *choices]
    if stored and stored not in dict(choices):
        label = stored if is_installed(stored) else _("%(name)s (not installed)") % {"name": stored}
        offered.append((stored, label))
    return offered


def verbs() -> Choices:
    """The registered verbs."""
    return [(item.name, _label(item.name, item.description)) for item in sorted(catalogue, key=lambda item: item.name)]


def models() -> Choices:
    """The installed models, as app.model, without ours, whose rows never trigger anything."""
    own = Trigger._meta.app_label
    labels = [model._meta.label_lower for model in apps.get_models() if model._meta.app_label != own]
    return [(label, label) for label in sorted(labels)]


def messengers() -> Choices:
    """The installed messengers, and the accounts of them in the settings."""
    return _messengers(registry.names(MESSENGERS))


def messengers_with_stored_addresses() -> Choices:
    """Those that read users' addresses from the rows of ``Address``."""
    return _messengers([alias for alias in registry.names(MESSENGERS) if _stores_addresses(alias)])


def _stores_addresses(alias: str) -> bool:
    try:
        return registry.address_path(alias) == STORED_ADDRESS
    except ConfigurationError:
        return False


def _messengers(aliases: Iterable[str]) -> Choices:
    found = []
    for alias in aliases:
        try:
            cls = registry.messenger_class(alias)
        except UnknownName:
            continue
        name = alias
        if cls.name != alias:
            name = _("%(alias)s, an account of %(messenger)s") % {"alias": alias, "messenger": cls.name}
        found.append((alias, _label(name, cls.description)))
    return found


def message_templates() -> Choices:
    """The installed message templates, with the signal arguments that they need."""
    found = []
    for name in registry.names(MESSAGE_TEMPLATES):
        cls = registry.find(MESSAGE_TEMPLATES, name)
        label = _label(name, cls.description)
        if cls.required_signal_args:
            needed = ", ".join(cls.required_signal_args)
            label = _("%(template)s (needs %(arguments)s)") % {"template": label, "arguments": needed}
        found.append((name, label))
    return found


def receiver_resolvers() -> Choices:
    """The installed receiver resolvers."""
    names = registry.names(RECEIVER_RESOLVERS)
    return [(name, _label(name, registry.find(RECEIVER_RESOLVERS, name).description)) for name in names]


def is_verb(name: str) -> bool:
    """Whether the verb is registered."""
    return catalogue.find(name) is not None


def is_model(label: str) -> bool:
    """Whether the model is installed."""
    return references.find_model(label) is not None


def is_messenger(alias: str) -> bool:
    """Whether the messenger, or the account's messenger, is installed."""
    try:
        registry.messenger_class(alias)
    except UnknownName:
        return False
    return True


def is_message_template(name: str) -> bool:
    """Whether the message template is installed."""
    return name in registry.names(MESSAGE_TEMPLATES)


def is_receiver_resolver(name: str) -> bool:
    """Whether the receiver resolver is installed."""
    return name in registry.names(RECEIVER_RESOLVERS)


def messenger_problems(alias: str) -> list[str]:
    """What keeps a messenger from being ready, without secrets; empty when it is ready."""
    findings = registry.messenger_findings(alias)
    return [finding if isinstance(finding, str) else str(finding.msg) for finding in findings]


def messenger_rate(alias: str) -> str:
    """The rate in the messenger's options, such as "30/s"; empty for no limit, or when the options are not usable."""
    try:
        options = registry.messenger(alias).options
        return options.RATE.strip() if options.rate else ""
    except DSNError:
        return ""


def verbs_explained() -> SafeString:
    """A collapsed table of the verbs and the arguments that their signals provide."""
    rows = []
    for item in sorted(catalogue, key=lambda item: item.name):
        arguments = _("not known") if item.provides is None else ", ".join(item.provides) or _("none")
        rows.append((item.name, item.description, arguments))
    return format_html(
        '<details class="dsn-verbs"><summary>{}</summary><table>'
        "<thead><tr><th>{}</th><th>{}</th><th>{}</th></tr></thead><tbody>{}</tbody></table></details>",
        _("The meaning of the verbs, and the arguments they provide"),
        _("Verb"),
        _("When"),
        _("Arguments"),
        format_html_join("", "<tr><td>{}</td><td>{}</td><td>{}</td></tr>", rows),
    )


def _label(name: str, description: str) -> str:
    return f"{name}: {Truncator(description).chars(80)}" if description else name
