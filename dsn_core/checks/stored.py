"""Checks of stored rows for names of things that do not exist. Only with ``--database``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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


def check_stored(*, databases: Sequence[str] | None = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """W020, W030 to W032 and W042, for those of ``databases`` that hold our tables."""
    found: list[checks.CheckMessage] = []
    for using in databases or ():
        if router.allow_migrate_model(using, Backend):
            found += messages(registry, using)
    return found


def messages(registry: Registry, using: str) -> list[checks.CheckMessage]:
    """:func:`check_stored` for any registry and one database. Nothing while its tables are missing or out of date."""
    try:
        # A savepoint where a transaction is open: on PostgreSQL an error would abort it.
        with transaction.atomic(using=using):
            return [
                *_of_backends(registry, using),
                *_of_triggers(registry, using),
                *_of_subscriptions(registry, using),
            ]
    except DatabaseProblem:
        return []


def _of_backends(registry: Registry, using: str) -> Iterator[checks.CheckMessage]:
    rows = Backend.objects.using(using)
    for field, kind in (("messenger", MESSENGERS), ("message_template", MESSAGE_TEMPLATES)):
        yield from _missing(rows, field, kind.singular, registry.names(kind), "backend", "dsn.W030")
    used = _counted(rows, "messenger")
    for name, found in messenger_messages(registry).items():
        if name in used:
            # As warnings: 'manage.py migrate' runs these checks, and no plugin may stop it.
            yield from map(as_warning, found)


def _of_triggers(registry: Registry, using: str) -> Iterator[checks.CheckMessage]:
    rows = Trigger.objects.using(using).filter(enabled=True)
    yield from _missing(rows, "verb", "verb", registry.signals.names(), "trigger", "dsn.W031")
    for field in ("action_object_model", "actor_object_model"):
        labels = _counted(rows, field)
        gone = [label for label in labels if find_model(label) is None]
        for label in gone:
            yield checks.Warning(
                f"There is no model {label!r}; {_count(labels[label], 'stored trigger names', 'stored triggers name')} "
                "it and can never match.",
                hint="Put its app back into INSTALLED_APPS, or change or delete the triggers.",
                id="dsn.W031",
            )
    for label in _counted(rows, "action_object_model"):
        yield from _elsewhere(label)


def _elsewhere(label: str) -> Iterator[checks.CheckMessage]:
    model = find_model(label)
    if model is None or (theirs := router.db_for_write(model)) == (ours := outbox()):
        return
    yield checks.Warning(
        f"There are triggers on {label!r}, which is written to the database {theirs!r}, while events are recorded in "
        f"{ours!r}: a crash between the two commits loses the event.",
        hint="If no event may be lost, have a database router put dsn_core's tables into the model's database.",
        id="dsn.W042",
    )


def _of_subscriptions(registry: Registry, using: str) -> Iterator[checks.CheckMessage]:
    rows = Subscription.objects.using(using).filter(enabled=True, trigger__enabled=True)
    resolvers, messengers = registry.names(RECEIVER_RESOLVERS), registry.names(MESSENGERS)
    yield from _missing(rows, "resolver", RECEIVER_RESOLVERS.singular, resolvers, "subscription", "dsn.W032")
    addresses = SubscriptionAddress.objects.using(using).filter(
        subscription__enabled=True, subscription__trigger__enabled=True
    )
    yield from _missing(addresses, "messenger", MESSENGERS.singular, messengers, "address", "dsn.W032")


def _missing(
    rows: models.QuerySet[Any], field: str, kind: str, known: Iterable[str], what: str, id: str
) -> Iterator[checks.CheckMessage]:
    """A warning for each name in the column ``field`` that is not ``known``."""
    known = set(known)
    plural = f"{what}es" if what.endswith("s") else f"{what}s"
    for name, count in _counted(rows, field).items():
        if name not in known:
            number = _count(count, f"stored {what} names", f"stored {plural} name")
            yield checks.Warning(
                f"There is no {kind} {name!r}{nearest(name, known)}; {number} it.",
                hint="Install or enable the plugin that provides it ('manage.py dsn_plugins' lists what is installed), "
                f"or change the {plural}.",
                id=id,
            )


def _counted(rows: models.QuerySet[Any], field: str) -> dict[str, int]:
    """How many of ``rows`` have each value of the column ``field``, without empty values."""
    pairs = rows.exclude(**{field: ""}).order_by(field).values_list(field).annotate(number=Count("pk"))
    return dict(pairs)


def _count(number: int, singular: str, plural: str) -> str:
    return f"{number} {singular if number == 1 else plural}"
