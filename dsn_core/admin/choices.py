"""The choices of forms: the names of what is installed, each with its description."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from django.apps import apps
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dsn_core.admin.display import badge
from dsn_core.exceptions import ConfigurationError, UnknownName
from dsn_core.models import Trigger
from dsn_core.plugins.catalogue import catalogue
from dsn_core.plugins.kinds import MESSAGE_TEMPLATES, MESSENGERS, RECEIVER_RESOLVERS, Kind
from dsn_core.plugins.profiles import STORED_ADDRESS
from dsn_core.plugins.registry import registry
from dsn_core.references import find_model

#: Pairs of stored name and label.
Choices: TypeAlias = list[tuple[str, str]]


@dataclass(frozen=True)
class Names:
    """Names of one kind, and the label of the empty choice."""

    choices: Callable[[], Choices]
    is_installed: Callable[[str], bool]
    nothing: str | Promise = "---------"

    def offer(self, stored: str) -> Choices:
        """The empty choice, the others, and the ``stored`` name if it is none of them."""
        offered = [("", str(self.nothing)), *self.choices()]
        if stored not in dict(offered):
            label = stored if self.is_installed(stored) else _("%(name)s (not installed)") % {"name": stored}
            offered.append((stored, label))
        return offered

    def shown(self, name: str, text: str = "") -> str:
        """``text``, or the name itself, marked when the name is not installed."""
        text = text or name
        if not name or self.is_installed(name):
            return text
        return format_html("{} {}", text, badge(_("not installed"), "bad"))


def _label(name: str, description: str) -> str:
    return f"{name}: {Truncator(description).chars(80)}" if description else name


def _verbs() -> Choices:
    return [(item.name, _label(item.name, item.description)) for item in sorted(catalogue, key=lambda item: item.name)]


def _models() -> Choices:
    # Rows of our own models never trigger anything.
    own = Trigger._meta.app_label
    labels = [model._meta.label_lower for model in apps.get_models() if model._meta.app_label != own]
    return [(label, label) for label in sorted(labels)]


def _messengers(*, have_stored_addresses: bool = False) -> Choices:
    """The installed messengers, and the accounts of them in the settings; or only those that read ``Address``."""
    found = []
    for alias in filter(_is_messenger, registry.names(MESSENGERS)):
        if have_stored_addresses and not _has_stored_addresses(alias):
            continue
        cls = registry.messenger_class(alias)
        name = alias
        if cls.name != alias:
            name = _("%(alias)s, an account of %(messenger)s") % {"alias": alias, "messenger": cls.name}
        found.append((alias, _label(name, cls.description)))
    return found


def _has_stored_addresses(alias: str) -> bool:
    try:
        return registry.address_path(alias) == STORED_ADDRESS
    except ConfigurationError:
        return False


def _is_messenger(alias: str) -> bool:
    try:
        registry.messenger_class(alias)
    except UnknownName:
        return False
    return True


def _classes(kind: Kind) -> Choices:
    found = []
    for name in registry.names(kind):
        cls = registry.find(kind, name)
        label = _label(name, cls.description)
        if kind is MESSAGE_TEMPLATES and cls.required_signal_args:
            needed = ", ".join(cls.required_signal_args)
            label = _("%(template)s (needs %(arguments)s)") % {"template": label, "arguments": needed}
        found.append((name, label))
    return found


VERBS = Names(_verbs, lambda name: catalogue.find(name) is not None)
MODELS = Names(_models, lambda label: find_model(label) is not None, gettext_lazy("any"))
ALIASES = Names(_messengers, _is_messenger)
ALIASES_WITH_ADDRESSES = Names(partial(_messengers, have_stored_addresses=True), _is_messenger)
TEMPLATES = Names(partial(_classes, MESSAGE_TEMPLATES), lambda name: name in registry.names(MESSAGE_TEMPLATES))
RESOLVERS = Names(
    partial(_classes, RECEIVER_RESOLVERS), lambda name: name in registry.names(RECEIVER_RESOLVERS), gettext_lazy("none")
)
