"""The form field for the conditions of a trigger: rows of path, operator and value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Final

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dsn_core.conditions import validation, wording
from dsn_core.conditions.operators import OPERATORS, Condition
from dsn_core.conditions.path_types import Roots
from dsn_core.exceptions import ConfigurationError

#: Empty rows after the filled ones.
EXTRA_ROWS: Final = 3
#: Paths that the page suggests; others can be typed.
MAX_PATHS: Final = 200

_HINTS: Final = {
    "flag": gettext_lazy("yes or no"),
    "values": gettext_lazy("one, another"),
    "pattern": gettext_lazy("regular expression"),
    "nothing": gettext_lazy("stays empty"),
}


@dataclass(frozen=True)
class Row:
    """The contents of one row's boxes.

    ``stored``  a condition that code stored and that the boxes cannot show, as JSON; the others are empty then
    """

    path: str = ""
    operator: str = ""
    value: str = ""
    stored: str = ""

    @property
    def is_empty(self) -> bool:
        return not (self.path.strip() or self.value.strip() or self.stored.strip())

    @property
    def has_lines(self) -> bool:
        """Whether a one-line box would remove line breaks from its value."""
        return "\n" in self.value


def shown(stored: Any, roots: Roots | None) -> list[Row]:
    """The rows for the ``stored`` conditions, which code may have put there in any form."""
    if not isinstance(stored, list):
        return [Row(stored=json.dumps(stored))] if stored else []
    return [_row(item, roots) for item in stored]


def _row(item: Any, roots: Roots | None) -> Row:
    with suppress(ConfigurationError):
        condition = Condition.of(item)
        if condition.operator in OPERATORS:
            return Row(condition.path, condition.operator, _lines(wording.written(condition, roots)))
    return Row(stored=json.dumps(item))


def _lines(text: str) -> str:
    """``text`` with ``\\n`` for all line breaks: browsers send others."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read(
    rows: Sequence[Row], stored: Any, before: Sequence[Row], roots: Roots | None
) -> tuple[list[Any], dict[int, list[str]]]:
    """The conditions in ``rows``, checked against ``roots`` where those are known, and the errors by the row's place.

    A row that is unchanged since ``before`` keeps its ``stored`` condition if that is still valid, so that a text does
    not become a number because another row was edited.
    """
    kept = dict(zip(before, stored, strict=True)) if isinstance(stored, list) else dict.fromkeys(before, stored)
    found, refused = [], {}
    for place, row in enumerate(rows):
        try:
            found.append(_read(row, kept, roots))
        except (ValidationError, ConfigurationError) as error:
            refused[place] = validation.reasons(error)
    return found, refused


def _read(row: Row, kept: Mapping[Row, Any], roots: Roots | None) -> Any:
    if row in kept:
        try:
            return _checked(Condition.of(kept[row]), roots)
        except (ValidationError, ConfigurationError):
            if row.stored:
                raise
    if row.stored:
        try:
            return _checked(Condition.of(json.loads(row.stored)), roots)
        except (ValueError, RecursionError) as error:
            raise ValidationError(_("This is no JSON: %(reason)s.") % {"reason": error}) from error
    if not row.path.strip():
        raise ValidationError(_("The path is missing. To remove the row, empty its value as well."))
    if not row.operator:
        raise ValidationError(_("Choose an operator."))
    return _checked(wording.read(row.path, row.operator, row.value, roots), roots)


def _checked(condition: Condition, roots: Roots | None) -> dict[str, Any]:
    # Without roots there is no valid verb, and the form is refused at its verb.
    return (condition if roots is None else validation.clean_one(condition, roots)).as_data()


def paths(roots: Roots | None) -> list[str]:
    """The paths to suggest: the signal's arguments, and the fields of those that are models."""
    if roots is None:
        return []
    found: list[str] = []
    given = roots.registration
    parts = {"action_object": given.action_object or "instance", "actor_object": given.actor_argument}
    for root, cls in roots.types.items():
        # Without a part that is the same object as an argument.
        if parts.get(root, root) == root or parts[root] not in roots.types:
            found.append(root)
            if cls is not None and issubclass(cls, Model):
                found += [f"{root}.{field.name}" for field in cls._meta.concrete_fields]
    return found[:MAX_PATHS]


class ConditionsWidget(forms.Widget):
    """Rows of boxes. JavaScript is needed only to add further rows."""

    template_name = "dsn_core/admin/conditions.html"
    #: The errors by row, and the suggested paths: set by the form.
    refused: Mapping[int, list[str]] = MappingProxyType({})
    paths: Iterable[str] = ()

    class Media:
        js: ClassVar = ["dsn_core/conditions.js"]

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[Row] | None:
        """The rows that are not empty; None when the page had no rows."""
        boxes: dict[int, dict[str, str]] = {}
        for key, (number, part) in _boxes(data, name).items():
            boxes.setdefault(number, {})[part] = _lines(data.get(key))
        if not boxes:
            return None
        rows = [Row(**boxes[number]) for number in sorted(boxes)]
        return [row for row in rows if not row.is_empty]

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return not _boxes(data, name)

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context = super().get_context(name, None, attrs)
        rows = [*(value or ()), *[Row()] * EXTRA_ROWS]
        # No more empty rows than may be filled in.
        rows = rows[: max(len(value or ()), validation.MAX_CONDITIONS)]
        hints = {item.name: _HINTS.get(item.takes, "") for item in OPERATORS.values()}
        context["widget"] |= {
            "paths": list(self.paths),
            "operators": hints.items(),
            "rows": [
                {
                    "number": place + 1,
                    "prefix": f"{name}-{place}",
                    "row": row,
                    "hint": hints.get(row.operator, ""),
                    "refused": self.refused.get(place, []),
                }
                for place, row in enumerate(rows)
            ],
        }
        return context


def _boxes(data: Any, name: str) -> dict[str, tuple[int, str]]:
    """The row's number and the part, for each key of ``data`` that is a box of the field ``name``."""
    pattern = re.compile(rf"{re.escape(name)}-([0-9]{{1,4}})-(path|operator|value|stored)")
    return {key: (int(found[1]), found[2]) for key in data if (found := pattern.fullmatch(key))}


class ConditionsField(forms.Field):
    """A list of :class:`Row`. The form reads them, since their meaning depends on the verb and the models."""

    widget = ConditionsWidget

    def bound_data(self, data: Any, initial: Any) -> Any:
        return initial if data is None else super().bound_data(data, initial)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return data is not None and list(initial or ()) != data
