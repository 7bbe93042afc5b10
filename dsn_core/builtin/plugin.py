"""The built-in plugin: its hooks, and its smaller classes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.db.models import Model

from dsn_core.builtin import codecs, django_signals, resolvers
from dsn_core.contracts.codecs import BaseCodec
from dsn_core.contracts.messages import Message
from dsn_core.contracts.messengers import BaseMessenger
from dsn_core.contracts.receipts import Receipt
from dsn_core.contracts.receivers import BaseReceiverFilter, BaseReceiverResolver, DeliveryView
from dsn_core.contracts.registrations import SignalRegistration
from dsn_core.contracts.runners import BaseRunner
from dsn_core.contracts.templates import BaseMessageTemplate
from dsn_core.hookspecs import hookimpl
from dsn_core.payload.placeholders import TYPE, Placeholder, kind_of, type_of
from dsn_core.runners.immediate import ImmediateRunner
from dsn_core.runners.tasks import TasksRunner
from dsn_core.runners.worker import WorkerRunner


class ConsoleMessenger(BaseMessenger):
    """Prints messages, for development and for a first try."""

    name = "console"

    def send_messages(self, messages: Sequence[Message]) -> Iterator[Receipt]:
        for message in messages:
            receiver = message.address or (str(message.user) if message.user is not None else "")
            head = [f"To: {receiver}"] if receiver else []
            if message.subject:
                head.append(f"Subject: {message.subject}")
            # sys.stdout is looked up at each call, since tests and servers replace it.
            print("-" * 72, *head, "", message.text, "-" * 72, sep="\n", file=sys.stdout, flush=True)  # noqa: T201 - its task
            yield Receipt.sent(message=message)


class SimpleMessageTemplate(BaseMessageTemplate):
    """Says verb, action object, actor and target of any event."""

    name = "simple"
    file_name = "dsn_core/simple.txt"

    def get_template_context(self, context: dict[str, Any]) -> dict[str, Any]:
        subject = context.get("action_object")
        if isinstance(subject, type):
            # A sender, where the signal has no instance: a class prints worse than its name.
            context["action_object"] = subject._meta.verbose_name if issubclass(subject, Model) else subject.__name__
        elif isinstance(subject, Placeholder) and kind_of(subject) == TYPE:
            # A sender whose text is not stored: its type is enough here.
            context["action_object"] = type_of(subject)
        return context


class InactiveUsersFilter(BaseReceiverFilter):
    """Excludes users whose account is not active."""

    name = "inactive_users"

    def exclude(self, deliveries: Sequence[DeliveryView]) -> Mapping[Any, str]:
        return {
            delivery.pk: "The user's account is not active."
            for delivery in deliveries
            if delivery.user is not None and not getattr(delivery.user, "is_active", True)
        }


@hookimpl
def dsn_messengers() -> list[type[BaseMessenger]]:
    return [ConsoleMessenger]


@hookimpl
def dsn_message_templates() -> list[type[BaseMessageTemplate]]:
    return [SimpleMessageTemplate]


@hookimpl
def dsn_receiver_resolvers() -> list[type[BaseReceiverResolver]]:
    return resolvers.RESOLVERS


@hookimpl
def dsn_receiver_filters() -> list[type[BaseReceiverFilter]]:
    return [InactiveUsersFilter]


@hookimpl
def dsn_signals() -> list[SignalRegistration]:
    return django_signals.registrations()


@hookimpl
def dsn_runners() -> list[type[BaseRunner]]:
    return [ImmediateRunner, WorkerRunner, TasksRunner]


@hookimpl
def dsn_codecs() -> list[type[BaseCodec]]:
    return codecs.CODECS
