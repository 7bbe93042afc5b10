"""Search boxes for keys. Django's own raise ``ValueError`` when a request sends a text that cannot be a key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib.admin.widgets import AutocompleteSelect, AutocompleteSelectMultiple
from django.core.exceptions import ValidationError
from django.db.models import Field, Model


def possible_keys(model: type[Model], texts: Iterable[str]) -> list[str]:
    """Those of ``texts`` that could be a key of ``model``."""
    key: Field[Any, Any] = model._meta.pk
    found = []
    for text in texts:
        try:
            key.run_validators(key.to_python(text))
        except ValidationError:
            continue
        found.append(text)
    return found


class SearchSelect(AutocompleteSelect):
    def optgroups(self, name: str, value: Sequence[str], attr: dict[str, Any] | None = None) -> Any:
        return super().optgroups(name, possible_keys(self.field.remote_field.model, value), attr)


class SearchSelectMultiple(SearchSelect, AutocompleteSelectMultiple):
    """Several rows."""
