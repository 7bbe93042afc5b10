"""What a connection sees of triggers that its open transaction edited."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from dsn_core.triggers.index import Entry, Index

Committed = Callable[[str, Collection[int] | None], None]


class Edit:
    """What one edit changed: ``entries`` is what is there now of ``trigger_ids`` (None: of all).

    Stands in its transaction's list of things to do on commit, and so shares its fate. Called: it
    was committed. Dropped, by a rollback of the transaction or the savepoint: it never was.
    """

    def __init__(self, trigger_ids: Collection[int] | None, entries: Mapping[int, Entry], committed: Committed) -> None:
        self.trigger_ids = trigger_ids
        self.entries = entries
        self.committed = committed
        self.view: _View | None = None

    def __call__(self) -> None:
        view = self.view
        if view is None or connections[view.alias].in_atomic_block:
            # Told with an earlier edit of the transaction; or a test runs the callbacks of one that goes on.
            return
        edits = view.alive()
        for edit in edits:
            edit.view = None
        view.edits.clear()
        view.stale = True
        together: set[int] | None = set()
        for edit in edits:
            together = None if together is None or edit.trigger_ids is None else together.union(edit.trigger_ids)
        self.committed(view.alias, together)

    def apply(self, index: Index) -> Index:
        """``index`` as it is after this edit."""
        if self.trigger_ids is None:
            return Index(self.entries)
        index.replace(self.trigger_ids, self.entries)
        return index


@dataclass(eq=False)
class _View:
    alias: str
    index: Index
    edits: list[weakref.ref[Edit]] = field(default_factory=list)
    stale: bool = False

    def alive(self) -> list[Edit]:
        return [edit for reference in self.edits if (edit := reference()) is not None]

    def add(self, edit: Edit) -> None:
        edit.view = self
        self.edits.append(weakref.ref(edit, self._dropped))

    def _dropped(self, reference: weakref.ref[Edit]) -> None:
        self.stale = True


class Views:
    """The views of this process, by connection. Empty nearly always."""

    def __init__(self) -> None:
        self._by_connection: weakref.WeakKeyDictionary[BaseDatabaseWrapper, _View] = weakref.WeakKeyDictionary()

    def __bool__(self) -> bool:
        return bool(self._by_connection)

    def all(self) -> list[Index]:
        """The indexes of all views."""
        return [view.index for view in list(self._by_connection.values())]

    def of(self, connection: BaseDatabaseWrapper, shared: Index | None) -> Index | None:
        """What ``connection`` sees: its view of what is still not rolled back, else ``shared``."""
        view = self._by_connection.get(connection)
        if view is None:
            return shared
        if view.stale:
            edits = view.alive()
            if not edits:
                del self._by_connection[connection]
                return shared
            view.index = Index({}) if shared is None else shared.copy()
            for edit in edits:
                view.index = edit.apply(view.index)
            view.edits = [reference for reference in view.edits if reference() is not None]
            view.stale = False
        return view.index

    def add(self, connection: BaseDatabaseWrapper, edit: Edit, shared: Index | None) -> None:
        """Let ``connection``, in whose transaction ``edit`` happened, see it."""
        seen = self.of(connection, shared)
        view = self._by_connection.get(connection)
        if view is None:
            view = _View(connection.alias, Index({}) if seen is None else seen.copy())
            self._by_connection[connection] = view
        view.index = edit.apply(view.index)
        view.add(edit)
        transaction.on_commit(edit, using=connection.alias, robust=True)
