"""The hooks of the built-in plugin."""

from __future__ import annotations

from dsn_core.builtin import codecs, django_signals, filters, messengers, resolvers, templates
from dsn_core.contracts.codecs import BaseCodec
from dsn_core.contracts.messengers import BaseMessenger
from dsn_core.contracts.receivers import BaseReceiverFilter, BaseReceiverResolver
from dsn_core.contracts.registrations import SignalRegistration
from dsn_core.contracts.runners import BaseRunner
from dsn_core.contracts.templates import BaseMessageTemplate
from dsn_core.hookspecs import hookimpl
from dsn_core.runners.immediate import ImmediateRunner
from dsn_core.runners.tasks import TasksRunner
from dsn_core.runners.worker import WorkerRunner


@hookimpl
def dsn_messengers() -> list[type[BaseMessenger]]:
    return [messengers.ConsoleMessenger]


@hookimpl
def dsn_message_templates() -> list[type[BaseMessageTemplate]]:
    return [templates.SimpleMessageTemplate]


@hookimpl
def dsn_receiver_resolvers() -> list[type[BaseReceiverResolver]]:
    return [
        resolvers.PathResolver,
        resolvers.ActorResolver,
        resolvers.SuperusersResolver,
        resolvers.StaffResolver,
        resolvers.EveryoneResolver,
    ]


@hookimpl
def dsn_receiver_filters() -> list[type[BaseReceiverFilter]]:
    return [filters.InactiveUsersFilter]


@hookimpl
def dsn_signals() -> list[SignalRegistration]:
    return django_signals.registrations()


@hookimpl
def dsn_runners() -> list[type[BaseRunner]]:
    return [ImmediateRunner, WorkerRunner, TasksRunner]


@hookimpl
def dsn_codecs() -> list[type[BaseCodec]]:
    return codecs.CODECS
