"""What a connection sees of triggers that its open transaction edited."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Collection, Mapping

from django.db.backends.base.base import BaseDatabaseWrapper

from dsn_core.triggers.index import Index
from dsn_core.triggers.tables import Entry


class Edit:
    """What one edit changed: ``entries`` is what is there now of ``trigger_ids`` (None: of all).

    Stands in its transaction's list of things to do on commit, and so shares its fate. Called: it
    was committed. Dropped, by a rollback of the transaction or the savepoint: it never was.
    """

    def __init__(
        self, trigger_ids: Collection[int] | None, entries: Mapping[int, Entry], told: Callable[[Edit], None]
    ) -> None:
        self.trigger_ids = trigger_ids
        self.entries = entries
        self._told = told
        self.is_over = False

    def __call__(self) -> None:
        self._told(self)

    def apply(self, index: Index) -> Index:
        """``index`` as it is after this edit."""
        if self.trigger_ids is None:
            return Index(self.entries)
        index.replace(self.trigger_ids, self.entries)
        return index


class _View:
    """The index that one connection sees: the shared one, ``base``, with the edits of its transaction."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.edits: list[weakref.ref[Edit]] = []
        self.index = Index({})
        self.base: object = self

    def alive(self) -> list[Edit]:
        return [edit for reference in self.edits if (edit := reference()) is not None]

    def rebuild(self, shared: Index | None) -> None:
        index = Index({}) if shared is None else shared.copy()
        for edit in self.alive():
            index = edit.apply(index)
        self.index, self.base = index, shared

    def outdate(self) -> None:
        self.base = self


class Views:
    """The views of this process, by connection. Empty nearly always.

    ``rolled_back`` is called after edits were dropped. Whoever adds or ends an edit holds one lock.
    """

    def __init__(self, rolled_back: Callable[[], None]) -> None:
        self._by_connection: weakref.WeakKeyDictionary[BaseDatabaseWrapper, _View] = weakref.WeakKeyDictionary()
        self._rolled_back = rolled_back

    def __bool__(self) -> bool:
        return bool(self._by_connection)

    def __contains__(self, connection: BaseDatabaseWrapper) -> bool:
        return connection in self._by_connection

    def outdate(self) -> None:
        """Every view is made anew when it is looked at again."""
        for view in self._by_connection.values():
            view.outdate()

    def all(self, shared: Index | None) -> list[Index]:
        """The indexes of all views, over ``shared``."""
        return [index for connection in list(self._by_connection) if (index := self.of(connection, shared)) is not None]

    def of(self, connection: BaseDatabaseWrapper, shared: Index | None) -> Index | None:
        """What ``connection`` sees: its view of what is still not rolled back, else ``shared``."""
        view = self._by_connection.get(connection)
        if view is None:
            return shared
        if view.base is not shared:
            view.rebuild(shared)
        return view.index

    def add(self, connection: BaseDatabaseWrapper, edit: Edit, shared: Index | None) -> None:
        """Let ``connection``, in whose transaction ``edit`` happened, see it."""
        self.of(connection, shared)
        view = self._by_connection.get(connection)
        if view is None:
            view = self._by_connection[connection] = _View()
            view.rebuild(shared)
        view.index = edit.apply(view.index)
        key = weakref.ref(connection)
        view.edits.append(weakref.ref(edit, lambda _: self._drop(key())))

    def end(self, connection: BaseDatabaseWrapper, edit: Edit) -> list[Edit]:
        """``edit`` was committed: forget the view, and return all edits that were committed with it."""
        if edit.is_over:
            return []
        view = self._by_connection.pop(connection, None)
        edits = [edit, *(other for other in (view.alive() if view else ()) if other is not edit)]
        for other in edits:
            other.is_over = True
        if view:
            view.edits.clear()
        return edits

    def _drop(self, connection: BaseDatabaseWrapper | None) -> None:
        """A rollback dropped an edit: keep those that still wait for their commit."""
        view = None if connection is None else self._by_connection.get(connection)
        if connection is None or view is None:
            return
        waiting = {id(entry[1]) for entry in connection.run_on_commit}
        view.edits = [reference for reference in view.edits if id(reference()) in waiting]
        view.outdate()
        if not view.edits:
            del self._by_connection[connection]
        # Elsewhere (the garbage of a thread that died in a transaction) other locks may be held.
        if view.thread == threading.get_ident():
            self._rolled_back()
