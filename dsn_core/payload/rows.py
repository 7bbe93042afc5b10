"""Rows of the database by their keys: querysets, and lists of instances that are too large to be stored whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, Final

from django.db.models import Model

from dsn_core.exceptions import NotStored
from dsn_core.payload import snapshots

#: A queryset with more rows becomes a placeholder, since its keys are read in the caller.
MAX_ROWS: Final = 10_000
#: Composite keys per query: some databases limit the number of expressions, and each key is one.
MAX_COMPOSITE: Final = 250


def keys_of(values: Iterable[Any]) -> tuple[type[Model], str, list[Any]] | None:
    """Model, database and keys of saved instances of one model; None for any other values."""
    kinds, keys = set(), list[Any]()
    for item in values:
        if not isinstance(item, Model) or item.pk is None or len(keys) == MAX_ROWS:
            return None
        kinds.add((item.__class__, item._state.db))
        keys.append(item.pk)
    if len(kinds) != 1:
        return None
    ((model, using),) = kinds
    return (model, using, keys) if using and snapshots.is_known(model._meta.label_lower) else None


class StoredRows(Sequence[Any]):
    """Instances that were stored by their keys, and are read again at their first use.

    In the order of the signal's list, without deleted rows. Raises :class:`~dsn_core.exceptions.NotStored` if all rows
    are deleted, since the signal's list was not empty.
    """

    def __init__(self, model: type[Model], using: str, keys: list[Any]) -> None:
        self._model, self._using = model, using
        key: Any = model._meta.pk
        # In the form that instances hold. The parts of a composite key have it already.
        self._keys = [item if isinstance(item, tuple) else key.to_python(item) for item in keys]

    @cached_property
    def _rows(self) -> list[Any]:
        manager = self._model._base_manager.using(self._using).order_by()
        size = MAX_COMPOSITE if self._keys and isinstance(self._keys[0], tuple) else len(self._keys) or 1
        found: dict[Any, Model] = {}
        for start in range(0, len(self._keys), size):
            found.update(manager.in_bulk(self._keys[start : start + size]))
        if self._keys and not found:
            raise NotStored(
                f"The event stored a list of {len(self._keys)} {self._model._meta.label} by their keys, since it was "
                "too large, and none of these rows exists any more. Send the message before they are deleted, or raise "
                "DSN['MAX_PAYLOAD_BYTES'] so that the instances are stored whole."
            )
        return [found[key] for key in self._keys if key in found]

    def __getitem__(self, index: Any) -> Any:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return repr(self._rows)
