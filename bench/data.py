"""The data of the measured project: triggers, users."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db import connection, transaction
from django.db.models import Model, signals

import dsn_core
from dsn_core.models import Subscription, Trigger
from dsn_core.models.clock import now_sql

#: Of models: what could be in the way of a save.
SIGNALS = (
    *(signals.pre_init, signals.post_init, signals.pre_save, signals.post_save),
    *(signals.pre_delete, signals.post_delete, signals.m2m_changed),
)


def listen(triggers: Iterable[Trigger]) -> None:
    """Store ``triggers``, each with a subscription, and follow them."""
    with transaction.atomic():
        made = Trigger.objects.bulk_create(triggers, batch_size=500)
        Subscription.objects.bulk_create([Subscription(trigger=trigger) for trigger in made], batch_size=500)
    dsn_core.refresh()


def about(model: type[Model], number: int, kinds: Sequence[str], verb: str = "post_save") -> Iterator[Trigger]:
    """``number`` triggers on ``model`` that match nothing a bench does, of ``kinds``: key, target, condition."""
    label = model._meta.label_lower
    for index in range(number):
        trigger = Trigger(verb=verb, action_object_model=label)
        match kinds[index % len(kinds)]:
            case "key":
                trigger.action_object_pk = str(2_000_000_000 + index)
            case "target":
                trigger.target = f"nowhere {index}"
            case "condition":
                trigger.conditions = [{"path": "instance.status", "operator": "equals", "value": f"status {index}"}]
        yield trigger


@contextlib.contextmanager
def bare() -> Iterator[None]:
    """Django's signals of models without a receiver, as they are where nothing is installed that listens."""
    held = [(signal, signal.receivers) for signal in SIGNALS]
    _exchange([(signal, []) for signal in SIGNALS])
    try:
        yield
    finally:
        _exchange(held)


def _exchange(receivers: Iterable[tuple[Any, list[Any]]]) -> None:
    for signal, these in receivers:
        with signal.lock:
            signal.receivers = these
            signal.sender_receivers_cache.clear()


@contextlib.contextmanager
def undone() -> Iterator[None]:
    """A transaction that is rolled back: each piece of work begins with the same tables."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@contextlib.contextmanager
def bare_and_undone() -> Iterator[None]:
    """Both."""
    with bare(), undone():
        yield


def numbers(to: int) -> str:
    """SQL that selects the numbers ``n`` from 1 to ``to``."""
    if connection.vendor == "postgresql":
        return f"SELECT n FROM generate_series(1, {to}) AS n"  # noqa: S608 - a number
    return f"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {to}) SELECT n FROM c"  # noqa: S608


def crowd(number: int, name: str = "crowd") -> Group:
    """A group of ``number`` users, made by the database alone."""
    group = Group.objects.create(name=name)
    concat = f"'{name}' || n"
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO auth_user (username, first_name, last_name, email, password, is_staff, is_active, "  # noqa: S608
            f"is_superuser, date_joined) SELECT {concat}, 'A', 'B', {concat} || '@example.org', '', %s, %s, %s, "
            f"{now_sql(connection)} FROM ({numbers(number)}) numbers",
            [False, True, False],
        )
        cursor.execute(
            "INSERT INTO auth_user_groups (user_id, group_id) SELECT id, %s FROM auth_user WHERE username LIKE %s",
            [group.pk, f"{name}%"],
        )
        cursor.execute("ANALYZE")
    return group


@contextlib.contextmanager
def lanes(messenger: str, number: int) -> Iterator[None]:
    """Within, a worker sends so many batches of ``messenger`` at the same time: its option CONNECTIONS."""
    held: dict[str, Any] = settings.DSN
    settings.DSN = {**held, "MESSENGERS": {messenger: {"CONNECTIONS": number}}}
    try:
        yield
    finally:
        settings.DSN = held


def no_users() -> None:
    """Take all users and groups away."""
    with connection.cursor() as cursor:
        for table in ("auth_user_groups", User._meta.db_table, Group._meta.db_table):
            cursor.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
