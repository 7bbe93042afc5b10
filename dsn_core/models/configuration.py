"""Announcement of edits of triggers and subscriptions, to this process and to all others."""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from collections.abc import Collection, Iterable, Iterator
from typing import Any, ClassVar, Final, TypeVar

from django.db import Error, connections, models, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from dsn_core.models.changes import ConfigurationChange
from dsn_core.signals import configuration_changed

logger = logging.getLogger("dsn_core.models")

ModelT = TypeVar("ModelT", bound=models.Model)

#: An edit of more triggers than this names none of them: reading all is then no slower.
MAX_NAMED: Final = 500
#: What, changed in bulk, lets a row concern another trigger than before.
_MOVING: Final = frozenset({"pk", "id", "trigger", "trigger_id"})


_prunings: weakref.WeakKeyDictionary[BaseDatabaseWrapper, weakref.ref[Any]] = weakref.WeakKeyDictionary()


def _prune_after_commit(using: str) -> None:
    """Prune the log of changes after the commit of an edit; once for all edits of a transaction."""
    connection = connections[using]
    planned = _prunings.get(connection)
    if planned is not None and planned() is not None:
        return

    def prune() -> None:
        try:
            ConfigurationChange.prune(using)
        except Error as error:
            # The edit is committed, so its code must not get an error. The next edit prunes.
            logger.debug("The changes of the configuration could not be pruned: %s", error)

    # Referenced only by the on-commit functions, so that a rollback of the transaction or savepoint removes it.
    _prunings[connection] = weakref.ref(prune)
    transaction.on_commit(prune, using=using, robust=True)


class _Collecting(threading.local):
    """The announcements of the blocks of :func:`one_announcement` that this thread is in, by database alias."""

    def __init__(self) -> None:
        self.by_alias: dict[str, list[Collection[int] | None]] = {}


_collecting = _Collecting()


def announce(model: type[models.Model], using: str, trigger_ids: Collection[int] | None) -> None:
    """Tell all processes that triggers (None: any of them) changed. Call it in the editing transaction.

    Takes effect for this connection at once, for others after the commit, and not at all after a rollback. Costs one
    INSERT.
    """
    if (collected := _collecting.by_alias.get(using)) is not None:
        collected.append(trigger_ids)
        return
    if trigger_ids is not None and len(trigger_ids) > MAX_NAMED:
        trigger_ids = None
    ConfigurationChange.insert(using, trigger_ids)
    _prune_after_commit(using)
    configuration_changed.send(sender=model, using=using, trigger_ids=trigger_ids)


@contextlib.contextmanager
def one_announcement(model: type[models.Model], using: str) -> Iterator[None]:
    """A transaction in which all announcements become one, at its end."""
    with transaction.atomic(using=using):
        if using in _collecting.by_alias:
            yield
            return
        collected = _collecting.by_alias[using] = []
        try:
            yield
        finally:
            del _collecting.by_alias[using]
        if collected:
            named = [trigger_ids for trigger_ids in collected if trigger_ids is not None]
            announce(model, using, set().union(*named) if len(named) == len(collected) else None)


class ConfigurationQuerySet(models.QuerySet[ModelT]):
    """A queryset that announces bulk changes, each once: for most of them Django sends no signal.

    An announcement names the triggers where they are few, so that processes need not read all of them again.
    """

    #: The column that says which trigger a row is, or belongs to.
    names_trigger: ClassVar[str]

    def update(self, **kwargs: Any) -> int:
        using = self._writes_to()
        with one_announcement(self.model, using):
            chosen, trigger_ids = self._named(kwargs)
            rows = models.QuerySet.update(chosen, **kwargs)
            if trigger_ids is None or trigger_ids:
                announce(self.model, using, trigger_ids)
        return rows

    def bulk_create(self, objs: Iterable[ModelT], *args: Any, **kwargs: Any) -> list[ModelT]:
        using = self._writes_to()
        with one_announcement(self.model, using):
            created = super().bulk_create(objs, *args, **kwargs)
            # Where conflicts are ignored or updated, other rows than these may have changed.
            are_new = not (kwargs.get("ignore_conflicts") or kwargs.get("update_conflicts") or args[1:])
            trigger_ids = {getattr(row, self.names_trigger) for row in created}
            announce(self.model, using, trigger_ids if are_new and None not in trigger_ids else None)
        return created

    def bulk_update(self, objs: Iterable[ModelT], fields: Iterable[str], *args: Any, **kwargs: Any) -> int:
        # Django makes an update() of each batch.
        with one_announcement(self.model, self._writes_to()):
            return super().bulk_update(objs, fields, *args, **kwargs)

    def delete(self) -> tuple[int, dict[str, int]]:
        # Including the rows that the deletion cascades to.
        with one_announcement(self.model, self._writes_to()):
            return super().delete()

    delete.queryset_only = True  # type: ignore[attr-defined]

    def _named(self, changes: Collection[str]) -> tuple[ConfigurationQuerySet[ModelT], set[int] | None]:
        """The rows to update, and the triggers that they concern; None where these are many, or are not known.

        The rows are kept to those that were named: others that match by now are as if they came after the update.
        """
        query = self.query
        if not query.where or query.is_sliced or query.combinator or _MOVING.intersection(changes):
            return self, None
        rows = list(self.order_by().values_list("pk", self.names_trigger)[: MAX_NAMED + 1])
        if len(rows) > MAX_NAMED:
            return self, None
        # Where both names are the key, Django 5.2.0 gives it once.
        return self.filter(pk__in=[row[0] for row in rows]), {row[-1] for row in rows}

    def _writes_to(self) -> str:
        # As Django does, but before the transaction: reads may go to another database.
        self._for_write = True
        return self.db


class ConfigurationModel(models.Model):
    """A row that decides which signals match."""

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        using = kwargs.get("using") or router.db_for_write(type(self), instance=self)
        # One transaction, so that the row and its announcement are committed together.
        with transaction.atomic(using=using):
            super().save(*args, **kwargs)

    def delete(self, using: str | None = None, keep_parents: bool = False) -> tuple[int, dict[str, int]]:
        using = using or router.db_for_write(type(self), instance=self)
        with one_announcement(type(self), using):
            return super().delete(using=using, keep_parents=keep_parents)
