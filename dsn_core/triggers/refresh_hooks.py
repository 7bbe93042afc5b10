"""Refresh hooks: the moments at which this process reads the triggers again, and its work around a fork."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterable
from typing import Any

from django.core.signals import request_started
from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate, pre_migrate

from dsn_core.models import ConfigurationChange
from dsn_core.models.trigger import OWN_APP
from dsn_core.signals import catalogue_changed, configuration_changed
from dsn_core.triggers.cache import home
from dsn_core.triggers.dispatch import trigger_cache


def install() -> None:
    """Connect to the signals at which triggers may be read. Runs no query."""
    connections_: list[tuple[Any, Callable[..., None]]] = [
        (connection_created, _on_connection_created),
        (request_started, _on_open_connection),
        (pre_migrate, _on_pre_migrate),
        (post_migrate, _on_post_migrate),
        (configuration_changed, _on_configuration_changed),
        (catalogue_changed, _on_catalogue_changed),
    ]
    for signal, receiver in connections_:
        signal.connect(receiver, weak=False, dispatch_uid=f"dsn_core.{receiver.__name__}")
    trigger_cache.connect()


def _on_connection_created(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    if connection.alias == home() and connections[connection.alias] is connection:
        trigger_cache.refresh()


def _on_open_connection(**kwargs: Any) -> None:
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


def _on_configuration_changed(using: str, trigger_ids: Collection[int] | None, **kwargs: Any) -> None:
    trigger_cache.edited(using, trigger_ids)


def _on_catalogue_changed(**kwargs: Any) -> None:
    trigger_cache.catalogue_changed()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=trigger_cache.before_fork,
        after_in_parent=trigger_cache.after_fork_in_parent,
        after_in_child=trigger_cache.after_fork_in_child,
    )
