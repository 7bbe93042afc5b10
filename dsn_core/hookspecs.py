"""The hooks that a plugin can implement.

Hooks only register: each is called once, when plugins are loaded, and returns classes. Nothing is sent, filtered or
encoded inside a hook call.
"""

from __future__ import annotations

from collections.abc import Iterable

import jinja2
import pluggy

from dsn_core.contracts.codecs import BaseCodec
from dsn_core.contracts.messengers import BaseMessenger
from dsn_core.contracts.receivers import BaseReceiverFilter, BaseReceiverResolver
from dsn_core.contracts.registrations import SignalRegistration
from dsn_core.contracts.runners import BaseRunner
from dsn_core.contracts.templates import BaseMessageTemplate

#: The name of the pluggy project and of the entry-point group.
PROJECT = "dsn"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def dsn_messengers() -> Iterable[type[BaseMessenger]]:
    """Messenger classes: they deliver messages."""


@hookspec
def dsn_message_templates() -> Iterable[type[BaseMessageTemplate]]:
    """Message template classes: they make the messages."""


@hookspec
def dsn_receiver_resolvers() -> Iterable[type[BaseReceiverResolver]]:
    """Receiver resolver classes: they choose the receivers of an event."""


@hookspec
def dsn_receiver_filters() -> Iterable[type[BaseReceiverFilter]]:
    """Receiver filter classes: they exclude receivers from messages."""


@hookspec
def dsn_signals() -> Iterable[SignalRegistration]:
    """Signal registrations: the verbs that triggers can use."""


@hookspec
def dsn_runners() -> Iterable[type[BaseRunner]]:
    """Runner classes: they start the pipeline after a commit."""


@hookspec
def dsn_codecs() -> Iterable[type[BaseCodec]]:
    """Codec classes: they store arguments of a type in events and read them back."""


@hookspec
def dsn_jinja2_environment(environment: jinja2.Environment) -> None:
    """Add filters, tests and globals to ``environment``. Called once per environment (HTML, text)."""
