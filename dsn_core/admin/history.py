"""The base of the admin classes of large tables."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from dsn_core.admin.base import ModelT, ReadOnlyAdmin
from dsn_core.admin.bulk import MAX_KEY
from dsn_core.admin.display import block, excerpt, value_column
from dsn_core.models import MessengerState, Trigger
from dsn_core.plugins.kinds import MESSENGERS
from dsn_core.plugins.registry import registry


class HistoryAdmin(ReadOnlyAdmin[ModelT]):
    """For tables of millions of rows: no unnecessary count, sort or query."""

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    sortable_by = ()

    error_begun = value_column("last_error", _("last error"), excerpt)
    error_shown = value_column("last_error", _("last error"), block)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[ModelT], search_term: str
    ) -> tuple[QuerySet[ModelT], bool]:
        if not search_term:
            return queryset, False
        found, may_have_duplicates = super().get_search_results(request, queryset, search_term)
        return found | queryset.filter(_by_key(search_term)), may_have_duplicates


def _by_key(term: str) -> Q:
    """Rows with ``term`` as their key, occurrence or message id, with or without dashes."""
    condition = Q(pk__in=[])
    head, _dot, tail = term.rpartition(".")
    key = tail.removeprefix("#") if _as_uuid(head) or not head else ""
    if key.isdecimal() and key.isascii() and len(key) <= len(str(MAX_KEY)) and int(key) <= MAX_KEY:
        condition |= Q(pk=int(key))
    if occurrence := _as_uuid(term):
        condition |= Q(occurrence=occurrence)
    return condition


def _as_uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


class _NameFilter(admin.SimpleListFilter):
    """By a column of a large table: the choices come from other tables, never from a scan of the large one."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.value()
        return queryset.filter(**{str(self.parameter_name): chosen}) if chosen else queryset


class MessengerFilter(_NameFilter):
    """The installed messengers, and those with deliveries."""

    title = _("messenger")
    parameter_name = "messenger"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        names = {*registry.names(MESSENGERS), *MessengerState.objects.values_list("messenger", flat=True)}
        return [(name, name) for name in sorted(names)]


class VerbFilter(_NameFilter):
    """The verbs of the stored triggers."""

    title = _("verb")
    parameter_name = "verb"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        names = Trigger.objects.order_by("verb").values_list("verb", flat=True).distinct()
        return [(name, name) for name in names]
