"""Uncommitted edits: the triggers as a connection sees them whose open transaction edited some."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper

from dsn_core._django import callbacks_on_commit
from dsn_core.triggers.matcher import Matcher
from dsn_core.triggers.rules import Rule


@dataclass(eq=False)
class Edit:
    """One edit: ``rules`` are those that now exist of ``trigger_ids`` (None: of all triggers).

    It is an on-commit function of its transaction: called after the commit, dropped by a rollback of the transaction or
    savepoint.
    """

    trigger_ids: Collection[int] | None
    rules: Mapping[int, Rule]
    committed: Callable[[Edit], None]
    is_over: bool = False

    def __call__(self) -> None:
        self.committed(self)

    def over(self, matcher: Matcher) -> Matcher:
        if self.trigger_ids is None:
            return Matcher(self.rules)
        return matcher.with_rules(self.trigger_ids, self.rules)


class _Overlay:
    """The matcher of one connection: the shared one, with the edits of its transaction.

    Only the connection's thread builds it: a reference to an edit in another thread, however short, would keep a
    rollback from dropping the edit.
    """

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        #: Replaced, never changed: a matcher built from another list is out of date.
        self._edits: list[weakref.ref[Edit]] = []
        #: The matcher, and what it was built from: the shared one and the list of edits.
        self._made: tuple[Matcher, object, object] = (Matcher({}), self, self)

    def alive(self) -> list[Edit]:
        return [edit for reference in self._edits if (edit := reference()) is not None]

    def over(self, shared: Matcher | None) -> Matcher:
        """The matcher over ``shared``; in other threads the one that was built last."""
        matcher, base, edits = self._made
        if self.thread == threading.get_ident() and (base is not shared or edits is not self._edits):
            edits = self._edits
            matcher = Matcher({}) if shared is None else shared
            for edit in self.alive():
                matcher = edit.over(matcher)
            self._made = (matcher, shared, edits)
        return matcher

    def add(self, edit: Edit, shared: Matcher | None, dropped: Callable[[], None]) -> None:
        """Add ``edit`` as the last one. ``dropped`` is called when it is rolled back."""
        matcher = edit.over(self.over(shared))
        self._edits = [*self._edits, weakref.ref(edit, lambda _: dropped())]
        self._made = (matcher, shared, self._edits)

    def keep_only(self, edits: Collection[int]) -> bool:
        """Forget all edits except those with these ids; return whether any is left."""
        self._edits = [reference for reference in self._edits if id(reference()) in edits]
        return bool(self._edits)

    def outdate(self) -> None:
        """Build the matcher again at its next use."""
        self._edits = list(self._edits)


class UncommittedEdits:
    """The overlays of this process, by connection. Empty nearly always.

    ``rolled_back`` is called after edits were dropped. The code that adds or ends an edit holds one lock.
    """

    def __init__(self, rolled_back: Callable[[], None]) -> None:
        self._by_connection: weakref.WeakKeyDictionary[BaseDatabaseWrapper, _Overlay] = weakref.WeakKeyDictionary()
        self._rolled_back = rolled_back
        #: Whether there may be any; read at each signal. May stay True after a rollback, which takes no lock.
        self.in_use = False

    def __bool__(self) -> bool:
        return bool(self._by_connection)

    def _all(self) -> list[tuple[BaseDatabaseWrapper, _Overlay]]:
        # No iteration over the dictionary, from which a rollback in another thread may remove an overlay.
        connections = [connection for reference in self._by_connection.keyrefs() if (connection := reference())]
        return [(item, overlay) for item in connections if (overlay := self._by_connection.get(item)) is not None]

    def outdate(self) -> None:
        for _, overlay in self._all():
            overlay.outdate()

    def all(self, shared: Matcher | None) -> list[Matcher]:
        return [overlay.over(shared) for _, overlay in self._all()]

    def keep_only(self, thread: int) -> None:
        """Forget the overlays of all threads but one, the only one that exists after a fork."""
        for connection, overlay in self._all():
            if overlay.thread != thread:
                del self._by_connection[connection]

    def of(self, connection: BaseDatabaseWrapper, shared: Matcher | None) -> Matcher | None:
        """The matcher of ``connection``: its overlay, without what was rolled back, else ``shared``."""
        overlay = self._by_connection.get(connection)
        return shared if overlay is None else overlay.over(shared)

    def add(self, connection: BaseDatabaseWrapper, edit: Edit, shared: Matcher | None) -> None:
        """Add ``edit`` to the overlay of ``connection``, in whose transaction it happened."""
        overlay = self._by_connection.get(connection)
        if overlay is None:
            overlay = self._by_connection[connection] = _Overlay()
        self.in_use = True
        key = weakref.ref(connection)
        overlay.add(edit, shared, lambda: self._drop(key()))

    def end(self, connection: BaseDatabaseWrapper, edit: Edit) -> list[Edit]:
        """``edit`` was committed: forget the overlay, and return all edits that were committed with it."""
        if edit.is_over:
            return []
        overlay = self._by_connection.pop(connection, None)
        self.in_use = bool(self._by_connection)
        edits = [edit, *(other for other in (overlay.alive() if overlay else ()) if other is not edit)]
        for other in edits:
            other.is_over = True
        return edits

    def _drop(self, connection: BaseDatabaseWrapper | None) -> None:
        """After a rollback dropped an edit, keep those that still wait for their commit."""
        overlay = None if connection is None else self._by_connection.get(connection)
        if connection is None or overlay is None:
            return
        if not overlay.keep_only({id(callback) for callback in callbacks_on_commit(connection)}):
            self._by_connection.pop(connection, None)
        # In another thread (for the garbage of one that died in a transaction) other locks may be held.
        if overlay.thread == threading.get_ident():
            self._rolled_back()
