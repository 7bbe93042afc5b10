"""Refresh hooks: the moments at which this process reads the triggers again, and its work around a fork."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from typing import Any

from django.core.signals import request_started
from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate, pre_migrate
from django.dispatch import Signal

from dsn_core.models import ConfigurationChange
from dsn_core.models.trigger import OWN_APP
from dsn_core.signals import catalogue_changed, configuration_changed
from dsn_core.triggers.cache import home
from dsn_core.triggers.dispatch import trigger_cache


def install() -> None:
    """Connect to the signals at which triggers may be read. Runs no query."""
    hooks: list[tuple[Signal, Callable[..., None]]] = [
        (connection_created, _on_connection_created),
        (request_started, _on_request_started),
        (pre_migrate, _on_pre_migrate),
        (post_migrate, _on_post_migrate),
        (configuration_changed, lambda using, trigger_ids, **kwargs: trigger_cache.edited(using, trigger_ids)),
        (catalogue_changed, lambda **kwargs: trigger_cache.catalogue_changed()),
    ]
    for number, (signal, receiver) in enumerate(hooks):
        signal.connect(receiver, weak=False, dispatch_uid=f"dsn_core.refresh_hooks:{number}")
    trigger_cache.connect()


def _on_connection_created(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    if connection.alias == home() and connections[connection.alias] is connection:
        trigger_cache.refresh()


def _on_request_started(**kwargs: Any) -> None:
    connection = connections[home()]
    # Not where it would open a connection, nor in a test that counts the queries of this one.
    if connection.connection is not None and not connection.force_debug_cursor:
        trigger_cache.refresh()


def _on_pre_migrate(using: str, **kwargs: Any) -> None:
    if using == home():
        trigger_cache.is_migrating = True


def _on_post_migrate(sender: Any, using: str, plan: Iterable[Any] = (), **kwargs: Any) -> None:
    if using != home():
        return
    if sender.label == OWN_APP:
        trigger_cache.is_migrating = False
        with contextlib.suppress(DatabaseError), transaction.atomic(using=using):
            ConfigurationChange.insert(using, None)
    elif not any(migration.app_label == OWN_APP for migration, _ in plan):
        return
    if not trigger_cache.refresh(force=True):
        # Our tables were removed, and the triggers with them.
        trigger_cache.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=trigger_cache.before_fork,
        after_in_parent=trigger_cache.after_fork_in_parent,
        after_in_child=trigger_cache.after_fork_in_child,
    )
