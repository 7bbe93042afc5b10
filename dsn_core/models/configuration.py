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


class _Pruning:
    """Prunes the log of changes after the commit of an edit; once for all edits of a transaction.

    Referenced only by the transaction's on-commit functions, so that it vanishes when the transaction or savepoint is
    rolled back.
    """

    def __init__(self, using: str) -> None:
        self._using = using

    def __call__(self) -> None:
        try:
            ConfigurationChange.prune(self._using)
        except Error as error:
            # The edit is committed, so its code must not get an error. The next edit prunes.
            logger.debug("The changes of the configuration could not be pruned: %s", error)


_prunings: weakref.WeakKeyDictionary[BaseDatabaseWrapper, weakref.ref[_Pruning]] = weakref.WeakKeyDictionary()


def _prune_after_commit(using: str) -> None:
    connection = connections[using]
    planned = _prunings.get(connection)
    if planned is None or planned() is None:
        pruning = _Pruning(using)
        _prunings[connection] = weakref.ref(pruning)
        transaction.on_commit(pruning, using=using, robust=True)


class _Edited:
    """The triggers (None: any) that were edited so far in a block; ``is_anything`` is False before the first edit."""

    def __init__(self) -> None:
        self.is_anything = False
        self.trigger_ids: set[int] | None = set()

    def add(self, trigger_ids: Collection[int] | None) -> None:
        self.is_anything = True
        if trigger_ids is None or self.trigger_ids is None:
            self.trigger_ids = None
        else:
            self.trigger_ids.update(trigger_ids)


class _Collecting(threading.local):
    """The blocks of :func:`one_announcement` that this thread is in, by database alias."""

    def __init__(self) -> None:
        self.by_alias: dict[str, _Edited] = {}


_collecting = _Collecting()


def announce(model: type[models.Model], using: str, trigger_ids: Collection[int] | None) -> None:
    """Tell all processes that triggers (None: any of them) changed. Call it in the editing transaction.

    Takes effect for this connection at once, for others after the commit, and not at all after a rollback. Costs one
    INSERT.
    """
    if (edited := _collecting.by_alias.get(using)) is not None:
        edited.add(trigger_ids)
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
        edited = _collecting.by_alias[using] = _Edited()
        try:
            yield
        finally:
            del _collecting.by_alias[using]
        if edited.is_anything:
            announce(model, using, edited.trigger_ids)


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

    update.alters_data = True  # type: ignore[attr-defined]

    def bulk_create(self, objs: Iterable[ModelT], *args: Any, **kwargs: Any) -> list[ModelT]:
        using = self._writes_to()
        with one_announcement(self.model, using):
            created = super().bulk_create(objs, *args, **kwargs)
            # Where conflicts are ignored or updated, other rows than these may have changed.
            are_new = not (kwargs.get("ignore_conflicts") or kwargs.get("update_conflicts") or args[1:])
            trigger_ids = {getattr(row, self.names_trigger) for row in created}
            announce(self.model, using, trigger_ids if are_new and None not in trigger_ids else None)
        return created

    bulk_create.alters_data = True  # type: ignore[attr-defined]

    def bulk_update(self, objs: Iterable[ModelT], fields: Iterable[str], *args: Any, **kwargs: Any) -> int:
        # Django makes an update() of each batch.
        with one_announcement(self.model, self._writes_to()):
            return super().bulk_update(objs, fields, *args, **kwargs)

    bulk_update.alters_data = True  # type: ignore[attr-defined]

    def delete(self) -> tuple[int, dict[str, int]]:
        # Including the rows that the deletion cascades to.
        with one_announcement(self.model, self._writes_to()):
            return super().delete()

    delete.alters_data = True  # type: ignore[attr-defined]
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

    save.alters_data = True  # type: ignore[attr-defined]

    def delete(self, using: str | None = None, keep_parents: bool = False) -> tuple[int, dict[str, int]]:
        using = using or router.db_for_write(type(self), instance=self)
        with one_announcement(type(self), using):
            return super().delete(using=using, keep_parents=keep_parents)

    delete.alters_data = True  # type: ignore[attr-defined]
