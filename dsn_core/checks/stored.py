"""Checks of stored rows for names of things that do not exist. Only with ``--database``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from django.core import checks
from django.db import Error as DatabaseProblem
from django.db import models, router, transaction
from django.db.models import Count

from dsn_core.checks.installed import as_warning, messenger_messages
from dsn_core.exceptions import nearest
from dsn_core.intake.record import outbox
from dsn_core.models import Backend, Subscription, SubscriptionAddress, Trigger
from dsn_core.plugins.kinds import MESSAGE_TEMPLATES, MESSENGERS, RECEIVER_RESOLVERS
from dsn_core.plugins.registry import Registry, registry
from dsn_core.references import find_model


def check_stored(
    registry: Registry = registry, *, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """W020, W030 to W032 and W042, for those of ``databases`` that hold our tables.

    Nothing while the tables are missing or out of date: ``migrate`` runs these checks, too.
    """
    found: list[checks.CheckMessage] = []
    for using in databases or ():
        if router.allow_migrate_model(using, Backend):
            # A savepoint where a transaction is open: on PostgreSQL an error would abort it.
            with suppress(DatabaseProblem), transaction.atomic(using=using):
                found += [*_of_names(registry, using), *_of_models(using)]
                used = _counted(Backend.objects.using(using), "messenger")
                by_name = messenger_messages(registry)
                # As warnings: no plugin may stop 'migrate'.
                found += [as_warning(message) for name in by_name if name in used for message in by_name[name]]
    return found


def _of_names(registry: Registry, using: str) -> Iterator[checks.CheckMessage]:
    """Names that nothing installed has."""
    messengers, resolvers = registry.names(MESSENGERS), registry.names(RECEIVER_RESOLVERS)
    templates, verbs = registry.names(MESSAGE_TEMPLATES), registry.signals.names()
    backends = Backend.objects.using(using)
    triggers = Trigger.objects.using(using).filter(enabled=True)
    subscriptions = Subscription.objects.using(using).filter(enabled=True, trigger__enabled=True)
    addresses = SubscriptionAddress.objects.using(using).filter(subscription__in=subscriptions)
    for rows, field, kind, known, what, check_id in (
        (backends, "messenger", MESSENGERS.singular, messengers, "backend", "dsn.W030"),
        (backends, "message_template", MESSAGE_TEMPLATES.singular, templates, "backend", "dsn.W030"),
        (triggers, "verb", "verb", verbs, "trigger", "dsn.W031"),
        (subscriptions, "resolver", RECEIVER_RESOLVERS.singular, resolvers, "subscription", "dsn.W032"),
        (addresses, "messenger", MESSENGERS.singular, messengers, "address", "dsn.W032"),
    ):
        plural = f"{what}es" if what.endswith("s") else f"{what}s"
        for name, count in _counted(rows, field).items():
            if name not in known:
                number = f"1 stored {what} names" if count == 1 else f"{count} stored {plural} name"
                yield checks.Warning(
                    f"There is no {kind} {name!r}{nearest(name, known)}; {number} it.",
                    hint="Install or enable the plugin that provides it ('manage.py dsn_plugins' lists what is "
                    f"installed), or change the {plural}.",
                    id=check_id,
                )


def _of_models(using: str) -> Iterator[checks.CheckMessage]:
    """Models of triggers that do not exist, or are in another database than the events."""
    rows = Trigger.objects.using(using).filter(enabled=True)
    for field in ("action_object_model", "actor_object_model"):
        for label, count in _counted(rows, field).items():
            model = find_model(label)
            if model is None:
                number = "1 stored trigger names" if count == 1 else f"{count} stored triggers name"
                yield checks.Warning(
                    f"There is no model {label!r}; {number} it and can never match.",
                    hint="Put its app back into INSTALLED_APPS, or change or delete the triggers.",
                    id="dsn.W031",
                )
            elif field == "action_object_model" and (theirs := router.db_for_write(model)) != (ours := outbox()):
                yield checks.Warning(
                    f"There are triggers on {label!r}, which is written to the database {theirs!r}, while events are "
                    f"recorded in {ours!r}: a crash between the two commits loses the event.",
                    hint="If no event may be lost, have a database router put dsn_core's tables into the model's "
                    "database.",
                    id="dsn.W042",
                )


def _counted(rows: models.QuerySet[Any], field: str) -> dict[str, int]:
    """How many of ``rows`` have each value of the column ``field``, without empty values."""
    pairs = rows.exclude(**{field: ""}).order_by(field).values_list(field).annotate(number=Count("pk"))
    return dict(pairs)
