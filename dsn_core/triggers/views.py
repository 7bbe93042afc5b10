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
    """The index that one connection sees: the shared one, with the edits of its transaction over it.

    Only its own thread makes it: whoever else held an edit, if only for a moment, would keep it from
    being dropped by a rollback.
    """

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        #: Replaced whole when it changes. What was made of another list does not hold any more.
        self._edits: list[weakref.ref[Edit]] = []
        #: The index, and what it was made of: the shared one and the list of edits.
        self._made: tuple[Index, object, object] = (Index({}), self, self)

    def __bool__(self) -> bool:
        return bool(self._edits)

    def alive(self) -> list[Edit]:
        return [edit for reference in self._edits if (edit := reference()) is not None]

    def over(self, shared: Index | None) -> Index:
        """The index over ``shared``."""
        index, base, edits = self._made
        if base is not shared or edits is not self._edits:
            edits = self._edits
            index = Index({}) if shared is None else shared.copy()
            for edit in self.alive():
                index = edit.apply(index)
            self._made = (index, shared, edits)
        return index

    def seen_from_here(self, shared: Index | None) -> Index:
        """The same in its own thread; in others the last that was made, over whichever was the shared one then."""
        return self.over(shared) if self.thread == threading.get_ident() else self._made[0]

    def add(self, edit: Edit, shared: Index | None, dropped: Callable[[], None]) -> None:
        """Let ``edit`` be the last one. ``dropped`` is called when it is rolled back."""
        index = edit.apply(self.over(shared))
        self._edits = [*self._edits, weakref.ref(edit, lambda _: dropped())]
        self._made = (index, shared, self._edits)

    def keep_only(self, edits: Collection[int]) -> None:
        """Forget all edits but those of these ids."""
        self._edits = [reference for reference in self._edits if id(reference()) in edits]

    def outdate(self) -> None:
        """Be made anew when it is looked at again."""
        self._edits = list(self._edits)


class Views:
    """The views of this process, by connection. Empty nearly always.

    ``rolled_back`` is called after edits were dropped. Whoever adds or ends an edit holds one lock.
    """

    def __init__(self, rolled_back: Callable[[], None]) -> None:
        self._by_connection: weakref.WeakKeyDictionary[BaseDatabaseWrapper, _View] = weakref.WeakKeyDictionary()
        self._rolled_back = rolled_back
        #: Whether there may be any. Each signal asks. After a rollback it may say so for nothing: that takes no lock.
        self.in_use = False

    def __bool__(self) -> bool:
        return bool(self._by_connection)

    def __contains__(self, connection: BaseDatabaseWrapper) -> bool:
        return connection in self._by_connection

    def outdate(self) -> None:
        """Every view is made anew when it is looked at again."""
        for view in self._all():
            view.outdate()

    def all(self, shared: Index | None) -> list[Index]:
        """The indexes of all views. All that their edits name is in them, and in what is over ``shared`` no more."""
        return [view.seen_from_here(shared) for view in self._all()]

    def _all(self) -> list[_View]:
        # Not by iterating over the dictionary: a rollback in another thread may drop a view meanwhile.
        connections = [reference() for reference in self._by_connection.keyrefs()]
        views = [self._by_connection.get(connection) for connection in connections if connection is not None]
        return [view for view in views if view is not None]

    def keep_only(self, thread: int) -> None:
        """Forget the views of all threads but one, which alone has gone through a fork."""
        for reference in self._by_connection.keyrefs():
            connection = reference()
            view = None if connection is None else self._by_connection.get(connection)
            if connection is not None and view is not None and view.thread != thread:
                del self._by_connection[connection]

    def of(self, connection: BaseDatabaseWrapper, shared: Index | None) -> Index | None:
        """What ``connection`` sees: its view of what is still not rolled back, else ``shared``."""
        view = self._by_connection.get(connection)
        return shared if view is None else view.over(shared)

    def add(self, connection: BaseDatabaseWrapper, edit: Edit, shared: Index | None) -> None:
        """Let ``connection``, in whose transaction ``edit`` happened, see it."""
        view = self._by_connection.get(connection)
        if view is None:
            view = self._by_connection[connection] = _View()
        self.in_use = True
        key = weakref.ref(connection)
        view.add(edit, shared, lambda: self._drop(key()))

    def end(self, connection: BaseDatabaseWrapper, edit: Edit) -> list[Edit]:
        """``edit`` was committed: forget the view, and return all edits that were committed with it."""
        if edit.is_over:
            return []
        view = self._by_connection.pop(connection, None)
        self.in_use = bool(self._by_connection)
        edits = [edit, *(other for other in (view.alive() if view else ()) if other is not edit)]
        for other in edits:
            other.is_over = True
        return edits

    def _drop(self, connection: BaseDatabaseWrapper | None) -> None:
        """A rollback dropped an edit: keep those that still wait for their commit."""
        view = None if connection is None else self._by_connection.get(connection)
        if connection is None or view is None:
            return
        view.keep_only({id(entry[1]) for entry in connection.run_on_commit})
        if not view:
            self._by_connection.pop(connection, None)
        # Elsewhere (the garbage of a thread that died in a transaction) other locks may be held.
        if view.thread == threading.get_ident():
            self._rolled_back()
