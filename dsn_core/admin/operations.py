"""The admin of the pipeline's own state: messengers' pauses, workers, configuration changes."""

from __future__ import annotations

import datetime
from typing import Any

from django.contrib import admin, messages
from django.db import DEFAULT_DB_ALIAS
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from dsn_core.admin.backends import readiness
from dsn_core.admin.base import ReadOnlyAdmin
from dsn_core.admin.display import NOTHING, badge, block, excerpt, lasting, value_column
from dsn_core.exceptions import DSNError
from dsn_core.models import ConfigurationChange, Environment, MessengerState, WorkerHeartbeat
from dsn_core.models.clock import DatabaseNow
from dsn_core.plugins.registry import registry
from dsn_core.queue.held import held_deliveries


class _KeptAdmin(ReadOnlyAdmin[Any]):
    """Rows that the pipeline needs, and that cannot be deleted."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(MessengerState)
class MessengerStateAdmin(_KeptAdmin):
    list_display = ["messenger", "pause_shown", "reason_begun", "rate_shown", "readiness_shown"]
    search_fields = ["messenger"]
    actions = ["end_pause"]
    fields = ["messenger", "pause_shown", "reason_shown", "rate_shown", "readiness_shown", "held_shown"]

    reason_begun = value_column("pause_reason", gettext_lazy("reason of the pause"), excerpt)
    reason_shown = value_column("pause_reason", gettext_lazy("reason of the pause"), block)
    readiness_shown = value_column("messenger", gettext_lazy("configuration"), readiness)

    @admin.action(description=gettext_lazy("End the pause"), permissions=["operate"])
    def end_pause(self, request: HttpRequest, queryset: QuerySet[MessengerState]) -> None:
        paused = list(queryset.filter(paused_until__isnull=False))
        rows = MessengerState.objects.filter(pk__in=[state.pk for state in paused])
        rows.update(paused_until=None, pause_reason="")
        for state in paused:
            self.log_change(request, state, [{"changed": {"fields": ["paused_until"]}}])
        self.wake_runner()
        text = ngettext("%d pause was ended.", "%d pauses were ended.", len(paused)) % len(paused)
        hint = _("Its deliveries are sent when they are due.")
        self.message_user(request, f"{text} {hint}", messages.SUCCESS)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # Pauses and rates use the database's clock, from which ours may differ by minutes.
        rows: QuerySet[Any] = super().get_queryset(request).annotate(database_now=DatabaseNow())
        return rows

    @admin.display(description=gettext_lazy("pause"), ordering="paused_until")
    def pause_shown(self, state: MessengerState) -> SafeString:
        rest, until = _rest(state, state.paused_until), state.paused_until
        if until is None or not rest:
            return badge(_("none"), "quiet")
        local = timezone.localtime(until) if timezone.is_aware(until) else until
        moment = formats.date_format(local, "DATETIME_FORMAT")
        words = _("until %(moment)s, %(time)s from now") % {"moment": moment, "time": lasting(rest)}
        return format_html("{} {}", badge(_("paused"), "warning"), words)

    @admin.display(description=gettext_lazy("rate"), ordering="rate_next_at")
    def rate_shown(self, state: MessengerState) -> str:
        try:
            options = registry.messenger(state.messenger).options
        except DSNError:
            # The options are not usable, which another column says.
            return _("no limit")
        if not options.rate:
            return _("no limit")
        shown = badge(_("below its limit"), "quiet")
        if rest := _rest(state, state.rate_next_at):
            shown = badge(_("at its limit: the next in %(time)s") % {"time": lasting(rest)}, "busy")
        return format_html("{} {}", options.RATE.strip(), shown)

    @admin.display(description=gettext_lazy("on hold"))
    def held_shown(self, state: MessengerState) -> str:
        held = held_deliveries(state.messenger, state._state.db or DEFAULT_DB_ALIAS)
        if held is None:
            return NOTHING
        text = ngettext("%d delivery", "%d deliveries", held.count) % held.count
        return format_html("{} {}", badge(text, "warning"), block(held.reason))


def _rest(state: MessengerState, until: datetime.datetime | None) -> datetime.timedelta:
    """The time left until ``until``; 0 when that has passed."""
    now: datetime.datetime = vars(state)["database_now"]
    return datetime.timedelta() if until is None else max(until - now, datetime.timedelta())


@admin.register(ConfigurationChange)
class ConfigurationChangeAdmin(_KeptAdmin):
    list_display = ["token", "created_at", "triggers_shown"]
    fields = ["token", "created_at", "triggers_shown"]
    ordering = ["-created_at", "pk"]

    @admin.display(description=gettext_lazy("triggers"))
    def triggers_shown(self, change: ConfigurationChange) -> str:
        if change.pruned is not None:
            count = len(change.pruned)
            return ngettext("replaces %d older change", "replaces %d older changes", count) % count
        if change.trigger_ids is None:
            return _("any")
        return ", ".join(map(str, change.trigger_ids))


@admin.register(WorkerHeartbeat)
class WorkerHeartbeatAdmin(_KeptAdmin):
    list_display = ["__str__", "version", "started_at", "seen_at"]
    fields = ["host", "process", "version", "started_at", "seen_at"]


@admin.register(Environment)
class EnvironmentAdmin(_KeptAdmin):
    list_display = ["name", "adopted_at"]
    fields = ["name", "adopted_at"]
