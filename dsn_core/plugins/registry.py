"""The registry: what is installed, by kind and name."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
from django.core.checks import CheckMessage

from dsn_core import conf
from dsn_core.contracts.codecs import BaseCodec
from dsn_core.contracts.messengers import BaseMessenger
from dsn_core.contracts.receivers import BaseReceiverFilter, BaseReceiverResolver
from dsn_core.contracts.runners import BaseRunner
from dsn_core.contracts.templates import BaseMessageTemplate
from dsn_core.exceptions import ConfigurationError, ContractError, UnknownName
from dsn_core.masking import exc_info, masked
from dsn_core.plugins import discovery, loading, profiles
from dsn_core.plugins.calls import reraise_interrupt
from dsn_core.plugins.catalogue import Catalogue, catalogue
from dsn_core.plugins.errors import describe, told
from dsn_core.plugins.kinds import (
    CODECS,
    KINDS,
    MESSAGE_TEMPLATES,
    MESSENGERS,
    RECEIVER_FILTERS,
    RECEIVER_RESOLVERS,
    RUNNERS,
    SIGNALS,
    Kind,
)
from dsn_core.plugins.loading import Fault, Plugin

logger = logging.getLogger("dsn_core.plugins")

#: The option that names the messenger of an account in ``DSN["MESSENGERS"]``.
ALIAS_OPTION = "MESSENGER"


class Registry:
    """What the loaded plugins registered. One per process: :data:`registry`."""

    def __init__(self, signals: Catalogue) -> None:
        self.plugins: list[Plugin] = []
        self.signals = signals
        self._loaded: list[Plugin] = []
        self._held: dict[str, dict[str, tuple[Any, Plugin]]] = {kind.plural: {} for kind in KINDS}
        #: The objects of which there is one per process, by kind and name.
        self._made: dict[tuple[str, str], Any] = {}
        self._codec_by_type: dict[type, BaseCodec | None] = {}

    # Loading

    def load(self) -> None:
        """Find and load every plugin. Called when Django's apps are ready.

        A further call (when a test overrides INSTALLED_APPS) forgets what it found before, and keeps what was added
        by hand.
        """
        for plugin in self._loaded:
            if plugin in self.plugins:
                self.remove(plugin)
        self._loaded = []
        settings = conf.current()
        found = discovery.candidates()
        allowed = [item for item in found if loading.is_allowed(item, settings)]
        distributed = {item.module for item in allowed if item.source == "entry_point"}
        seen: set[tuple[str, str]] = set()
        for candidate in found:
            # A module found by two routes is one plugin, with the metadata of its distribution.
            what = (candidate.module, candidate.attribute)
            if what in seen or (candidate.source == "app" and candidate.module in distributed):
                continue
            if candidate in allowed:
                seen.add(what)
            self._loaded.append(self.add(candidate, settings))

    def add(self, candidate: discovery.Candidate, settings: conf.Settings | None = None) -> Plugin:
        plugin, offered = loading.load(candidate, settings or conf.current())
        self.plugins.append(plugin)
        for kind, items in offered.items():
            for item in items:
                self._take(kind, item, plugin)
        for fault in plugin.faults:
            given = None if fault.error is None else exc_info(fault.error)
            logger.error("Plugin %s: %s.", candidate.label, fault.message, exc_info=given)
        self._forget_derived()
        return plugin

    def remove(self, plugin: Plugin) -> None:
        self.plugins.remove(plugin)
        for kind in KINDS:
            held = self._held[kind.plural]
            for name in [name for name, (_, holder) in held.items() if holder is plugin]:
                del held[name]
                if kind is SIGNALS:
                    self.signals.remove(name)
        self._forget_derived()

    def _forget_derived(self) -> None:
        self._made.clear()
        self._codec_by_type.clear()

    def _take(self, kind: Kind, item: Any, plugin: Plugin) -> None:
        held = self._held[kind.plural]
        # For MariaDB names that differ only in case are equal.
        taken = next((name for name in held if name.lower() == item.name.lower()), None)
        if taken is not None:
            winner = held[taken][1].candidate
            as_what = "of that name" if taken == item.name else f"of the name {taken!r}"
            message = f"its {kind.singular} {item.name!r} is not used, because {winner.label} has one {as_what} already"
            hint = "Names are unique per kind: ask one of the authors to choose another, or disable one of the plugins."
            plugin.faults.append(Fault("duplicate", message, hint))
            return
        if kind is SIGNALS:
            try:
                self.signals.add(item, by_plugin=True)
            except ConfigurationError as error:
                said = f"its signal {item.name!r} is not used: {str(error).rstrip('.')}"
                plugin.faults.append(Fault("duplicate", said, "Choose another name for one of the two."))
                return
        held[item.name] = (item, plugin)
        plugin.contributions[kind.plural].append(item)

    # Lookup

    def find(self, kind: Kind, name: str) -> Any:
        """What is registered as ``name``. Raises :class:`~dsn_core.exceptions.UnknownName`."""
        try:
            return self._held[kind.plural][name][0]
        except KeyError:
            advice = "Install the plugin that provides it; 'manage.py dsn_plugins' lists what is installed."
            raise UnknownName(kind.singular, name, self.names(kind), advice=advice) from None

    def names(self, kind: Kind) -> list[str]:
        """The registered names, sorted. For messengers, also the aliases of the settings."""
        names = set(self._held[kind.plural])
        if kind is MESSENGERS:
            names |= {alias for alias in conf.current().MESSENGERS if alias in names or self.account_of(alias) in names}
        return sorted(names)

    def account_of(self, alias: str) -> str:
        """The name of the messenger that ``alias`` is an account of; else ``alias`` itself."""
        return str(conf.current().MESSENGERS.get(alias, {}).get(ALIAS_OPTION, alias))

    def messenger_class(self, alias: str) -> type[BaseMessenger]:
        """The class behind ``alias``: a messenger's name, or an account in ``DSN["MESSENGERS"]``."""
        found: type[BaseMessenger] = self.find(MESSENGERS, self.account_of(alias))
        return found

    def messenger(self, alias: str) -> BaseMessenger:
        """A messenger with its options.

        Raises :class:`~dsn_core.exceptions.ConfigurationError` when it is not installed or its options are wrong,
        :class:`~dsn_core.exceptions.ContractError` when its class cannot be instantiated.
        """
        cls, options, path = self.messenger_class(alias), self.messenger_options(alias), self.address_path(alias)
        try:
            return cls(alias, options, path)
        except Exception as error:
            # The error's text may quote an option.
            said = f"The messenger {alias!r} cannot be made: {told(error, cls, options.mask)}"
            raise ContractError(said) from masked(error, options.mask)

    def messenger_options(self, alias: str) -> Any:
        """The typed options of a messenger, without an instance of it. Raises as :meth:`messenger` does."""
        given = {key: value for key, value in conf.current().MESSENGERS.get(alias, {}).items() if key != ALIAS_OPTION}
        try:
            return self.messenger_class(alias).Options.from_mapping(given)
        except ConfigurationError as error:
            raise ConfigurationError(f"DSN['MESSENGERS'][{alias!r}]: {error}") from None

    def address_path(self, alias: str) -> str:
        """The path from a user to the address for the messenger ``alias``; empty: users need none.

        ``profiles.STORED_ADDRESS`` is the row of ``Address``.
        Raises :class:`~dsn_core.exceptions.ConfigurationError` when it is not installed, or the profile cannot be used.
        """
        given, cls = conf.current().ADDRESSES, self.messenger_class(alias)
        path = given.get(alias, given.get(cls.name, cls.address_path))
        return path or (profiles.path_to(cls.profile_field) if cls.profile_field else "")

    def messenger_findings(self, alias: str) -> list[CheckMessage | str]:
        """What keeps the messenger ``alias`` from being ready, and its warnings; empty when there is nothing to report.

        Texts are about its options; ``CheckMessage`` objects come from its own ``check``. Never raises.
        """
        try:
            messenger = self.messenger(alias)
        except ConfigurationError as error:
            return [str(error).removeprefix(f"DSN['MESSENGERS'][{alias!r}]: ")]
        except BaseException as error:
            reraise_interrupt(error)
            return [str(error) if isinstance(error, Exception) else describe(error)]
        mask = messenger.options.mask
        try:
            return [_masked(item, mask) for item in messenger.check(messenger.options) or ()]
        except BaseException as error:
            reraise_interrupt(error)
            return [f"its check raised {told(error, type(messenger), mask)}"]

    def message_template(self, name: str) -> BaseMessageTemplate:
        made: BaseMessageTemplate = self.find(MESSAGE_TEMPLATES, name)()
        return made

    def receiver_resolver(self, name: str) -> BaseReceiverResolver:
        made: BaseReceiverResolver = self.find(RECEIVER_RESOLVERS, name)()
        return made

    def receiver_filters(self) -> list[BaseReceiverFilter]:
        """All receiver filters, in the order in which their plugins were loaded."""
        return [self._one(RECEIVER_FILTERS, name) for name in self._held[RECEIVER_FILTERS.plural]]

    def runner(self, name: str) -> BaseRunner:
        """The runner ``name``: one object per process."""
        found: BaseRunner = self._one(RUNNERS, name)
        return found

    def codec(self, name: str) -> BaseCodec:
        """The codec ``name``: one object per process."""
        found: BaseCodec = self._one(CODECS, name)
        return found

    def _one(self, kind: Kind, name: str) -> Any:
        key = (kind.plural, name)
        if key not in self._made:
            self._made[key] = self.find(kind, name)()
        return self._made[key]

    def codec_for(self, value: object) -> BaseCodec | None:
        """The codec of the nearest class of ``value``, if there is one."""
        kind = type(value)
        if kind not in self._codec_by_type:
            by_type = {cls.python_type: name for name, (cls, _) in self._held[CODECS.plural].items()}
            name = next((by_type[ancestor] for ancestor in kind.__mro__ if ancestor in by_type), None)
            self._codec_by_type[kind] = self.codec(name) if name else None
        return self._codec_by_type[kind]

    def template_dirs(self) -> list[Path]:
        """The ``templates`` folders of plugins that are no installed apps."""
        return [folder for plugin in self.plugins if (folder := plugin.template_dir())]

    def prepare_jinja2(self, environment: jinja2.Environment) -> None:
        """Let each plugin add to ``environment``. An error of one is logged, and does not affect the others."""
        for plugin in self.plugins:
            if plugin.hooks is None:
                continue
            try:
                plugin.hooks.dsn_jinja2_environment(environment=environment)
            except BaseException as error:
                reraise_interrupt(error)
                logger.exception("Plugin %s: dsn_jinja2_environment() raised.", plugin.candidate.label)


def _masked(finding: Any, mask: Callable[[str], str]) -> CheckMessage | str:
    if not isinstance(finding, CheckMessage):
        return mask(str(finding))
    finding.msg = mask(str(finding.msg))
    return finding


registry = Registry(catalogue)
