"""Search boxes for keys. Django's own raise a ValueError for a text that cannot be a key, which anybody may send."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.admin.widgets import AutocompleteSelect, AutocompleteSelectMultiple
from django.core.exceptions import ValidationError
from django.db.models import Field


class SearchSelect(AutocompleteSelect):
    """One row of many."""

    def optgroups(self, name: str, value: Sequence[str], attr: dict[str, Any] | None = None) -> Any:
        return super().optgroups(name, _keys(self.field, value), attr)


class SearchSelectMultiple(AutocompleteSelectMultiple):
    """Some rows of many."""

    def optgroups(self, name: str, value: Sequence[str], attr: dict[str, Any] | None = None) -> Any:
        return super().optgroups(name, _keys(self.field, value), attr)


def _keys(relation: Any, texts: Sequence[str]) -> list[str]:
    """Those of ``texts`` that could be a key on the other side of ``relation``."""
    key: Field[Any, Any] = relation.remote_field.model._meta.pk
    found = []
    for text in texts:
        try:
            key.to_python(text)
        except ValidationError:
            continue
        found.append(text)
    return found
