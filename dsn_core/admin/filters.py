"""Filters for large tables: their choices come from other tables, never from a scan of the large one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from dsn_core.models import MessengerState, Trigger
from dsn_core.plugins.kinds import MESSENGERS
from dsn_core.plugins.registry import registry


class _NameFilter(SimpleListFilter, ABC):
    @abstractmethod
    def names(self) -> Iterable[str]:
        """The names to choose from, without a query of the large table."""

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, str]]:
        return [(name, name) for name in sorted(set(self.names()))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.value()
        return queryset.filter(**{str(self.parameter_name): chosen}) if chosen else queryset


class MessengerFilter(_NameFilter):
    """By messenger: the installed ones, and those with deliveries."""

    title = _("messenger")
    parameter_name = "messenger"

    def names(self) -> list[str]:
        return [*registry.names(MESSENGERS), *MessengerState.objects.values_list("messenger", flat=True)]


class VerbFilter(_NameFilter):
    """By verb: those of the stored triggers."""

    title = _("verb")
    parameter_name = "verb"

    def names(self) -> Iterable[str]:
        return Trigger.objects.order_by("verb").values_list("verb", flat=True).distinct()
