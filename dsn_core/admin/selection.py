"""The rows of an action: ticked ones, or all that a filter finds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from django import forms
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _

from dsn_core.admin.searching import MAX_KEY

#: Query parameters of a list that are no filter.
_NO_FILTER: Final = frozenset({"p", "o", "all", "e", "_facets", "_popup", "_to_field", "_changelist_filters"})
_ACROSS: Final = "select_across"
_UP_TO: Final = "up_to"


@dataclass(frozen=True)
class Selection:
    """The chosen rows, the same on the confirmation page and after it.

    Rows found by a filter are not sent as keys, of which Django accepts at most a thousand, but by the filter in the
    URL. Rows that are newer than the confirmation page are left out.
    """

    rows: QuerySet[Any]
    is_by_filter: bool
    keys: tuple[str, ...]
    up_to: str
    filter: str

    @classmethod
    def of(cls, request: HttpRequest, queryset: QuerySet[Any]) -> Selection:
        """The rows of ``queryset``, which Django has reduced to the ticked ones."""
        # As Django's action form reads it.
        across = bool(forms.BooleanField(required=False).to_python(request.POST.get(_ACROSS)))
        keys = tuple(request.POST.getlist(ACTION_CHECKBOX_NAME))
        up_to = ""
        if across:
            up_to = request.POST.get(_UP_TO, "")
            if not (up_to.isascii() and up_to.isdecimal() and int(up_to[:20]) <= MAX_KEY):
                up_to = str(queryset.order_by("-pk").values_list("pk", flat=True).first() or 0)
            queryset = queryset.filter(pk__lte=up_to)
            keys = keys[:1]
        return cls(rows=queryset, is_by_filter=across, keys=keys, up_to=up_to, filter=_filter(request))

    @property
    def hidden(self) -> Iterator[tuple[str, str]]:
        """The hidden form fields by which the next request finds the same rows."""
        if self.is_by_filter:
            yield _ACROSS, "1"
            yield _UP_TO, self.up_to
        for key in self.keys:
            yield ACTION_CHECKBOX_NAME, key

    def __str__(self) -> str:
        if not self.is_by_filter:
            return _("Selected: %(keys)s.") % {"keys": ", ".join(f"#{key}" for key in self.keys)}
        if not self.filter:
            return _("All rows: no filter is set.")
        return _("Filter: %(filter)s.") % {"filter": self.filter}

    def log(self, request: HttpRequest, model: type[Model], flag: int, done: str, more: str = "") -> None:
        """Add one entry to the admin's log for any number of rows."""
        user: Any = request.user
        LogEntry.objects.create(
            user_id=user.pk,
            content_type=ContentType.objects.get_for_model(model, for_concrete_model=False),
            # Shown on the admin's index page.
            object_repr=f"{done} {self}"[:200],
            action_flag=flag,
            change_message=" ".join(filter(None, [done, more, str(self)])),
        )


def _filter(request: HttpRequest) -> str:
    pairs = ((name, value) for name, values in request.GET.lists() if name not in _NO_FILTER for value in values)
    return ", ".join(f"{name}={value}" for name, value in pairs)
