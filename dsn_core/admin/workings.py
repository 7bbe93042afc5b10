"""What the pipeline keeps for itself, in the admin: the messengers' pauses, and the configuration's version."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from dsn_core.admin.backends import readiness
from dsn_core.admin.base import ReadOnlyAdmin
from dsn_core.admin.display import NOTHING, badge, block, excerpt
from dsn_core.admin.events import MAX_SHOWN
from dsn_core.models import ConfigurationVersion, MessengerState


class _KeptAdmin(ReadOnlyAdmin[Any]):
    """The pipeline rests on these rows: nobody deletes them."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(MessengerState)
class MessengerStateAdmin(_KeptAdmin):
    list_display = ["messenger", "pause_shown", "paused_until", "reason_begun", "readiness_shown"]
    search_fields = ["messenger"]
    actions = ["end_pause"]
    fields = ["messenger", "pause_shown", "paused_until", "reason_shown", "readiness_shown"]

    @admin.action(description=gettext_lazy("End the pause"), permissions=["operate"])
    def end_pause(self, request: HttpRequest, queryset: QuerySet[MessengerState]) -> None:
        paused = list(queryset.filter(paused_until__isnull=False))
        rows = MessengerState.objects.filter(pk__in=[state.pk for state in paused])
        rows.update(paused_until=None, pause_reason="")
        for state in paused:
            self.log_change(request, state, [{"changed": {"fields": ["paused_until"]}}])
        self.wake_runner()
        text = ngettext("%d pause was ended.", "%d pauses were ended.", len(paused)) % len(paused)
        hint = _("Its deliveries go on when they are due.")
        self.message_user(request, f"{text} {hint}", messages.SUCCESS)

    @admin.display(description=gettext_lazy("pause"))
    def pause_shown(self, state: MessengerState) -> str:
        paused = state.paused_until is not None and state.paused_until > timezone.now()
        return badge(_("paused"), "warning") if paused else badge(_("none"), "quiet")

    @admin.display(description=gettext_lazy("reason of the pause"), empty_value=NOTHING)
    def reason_begun(self, state: MessengerState) -> str:
        return excerpt(state.pause_reason)

    @admin.display(description=gettext_lazy("reason of the pause"))
    def reason_shown(self, state: MessengerState) -> str:
        return block(state.pause_reason, MAX_SHOWN) if state.pause_reason else NOTHING

    @admin.display(description=gettext_lazy("configuration"))
    def readiness_shown(self, state: MessengerState) -> str:
        return readiness(state.messenger)


@admin.register(ConfigurationVersion)
class ConfigurationVersionAdmin(_KeptAdmin):
    list_display = ["number"]
    fields = ["number"]
