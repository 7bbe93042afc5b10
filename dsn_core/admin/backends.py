"""The admin of backends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import Count, Exists, OuterRef, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from dsn_core.admin import choices
from dsn_core.admin.base import MAX_LISTED, ConfigurationAdmin
from dsn_core.admin.display import badge, change_link, changelist_url, excerpt, installed_name, link
from dsn_core.admin.forms import BackendForm
from dsn_core.models import Backend, Subscription


def readiness(alias: str) -> str:
    """A badge that says whether the messenger is ready, and why not."""
    if not choices.is_messenger(alias):
        return badge(_("not installed"), "bad")
    problems = choices.messenger_problems(alias)
    if not problems:
        return badge(_("ready"), "good")
    reasons = format_html_join("", "<li>{}</li>", ([problem] for problem in problems))
    return format_html('{}<ul class="dsn-list">{}</ul>', badge(_("not ready"), "warning"), reasons)


@admin.register(Backend)
class BackendAdmin(ConfigurationAdmin[Backend]):
    form = BackendForm
    list_display = ["message_template_shown", "messenger_shown", "readiness_shown", "subscriptions_counted"]
    list_filter = ["messenger", "message_template"]
    search_fields = ["messenger", "message_template"]
    readonly_fields = ["readiness_shown"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Backend]:
        return super().get_queryset(request).annotate(subscriptions_number=Count("subscriptions"))

    def get_fields(self, request: HttpRequest, obj: Backend | None = None) -> Any:
        shown = ["messenger", "message_template"]
        return shown if obj is None else [*shown, "readiness_shown"]

    def deletion_notes(self, request: HttpRequest, rows: Sequence[Backend] | QuerySet[Backend]) -> list[str]:
        """The subscriptions that use the backends stay, and send less."""
        using = Subscription.objects.filter(backends__in=rows).distinct()
        number = using.count()
        if not number:
            return []
        left = Subscription.backends.through._default_manager.exclude(backend__in=rows)
        lonely = using.filter(~Exists(left.filter(subscription=OuterRef("pk")))).count()
        text = ngettext(
            "%d subscription uses it, and will no longer send with it:",
            "%d subscriptions use it, and will no longer send with it:",
            number,
        )
        names: list[str] = []
        if self._may_see_subscriptions(request):
            shown = using.select_related("trigger").order_by("pk")[:MAX_LISTED]
            names = [change_link(self.admin_site, row, excerpt(str(row), 120)) for row in shown]
            if number > MAX_LISTED:
                names.append(_("… and %(number)d more") % {"number": number - MAX_LISTED})
        lines = format_html_join("", "<li>{}</li>", ([name] for name in names))
        note = format_html('{}<ul class="dsn-uses">{}</ul>', text % number, lines)
        if not lonely:
            return [note]
        warning = ngettext(
            "%d of them has no other backend, and will send nothing.",
            "%d of them have no other backend, and will send nothing.",
            lonely,
        )
        return [note, warning % lonely]

    def _may_see_subscriptions(self, request: HttpRequest) -> bool:
        if not self.admin_site.is_registered(Subscription):
            return False
        return self.admin_site.get_model_admin(Subscription).has_view_permission(request)

    @admin.display(description=gettext_lazy("message template"), ordering="message_template")
    def message_template_shown(self, backend: Backend) -> str:
        return installed_name(backend.message_template, installed=choices.is_message_template(backend.message_template))

    @admin.display(description=gettext_lazy("messenger"), ordering="messenger")
    def messenger_shown(self, backend: Backend) -> str:
        return backend.messenger

    @admin.display(description=gettext_lazy("messenger's state"))
    def readiness_shown(self, backend: Backend) -> str:
        return readiness(backend.messenger)

    @admin.display(description=gettext_lazy("subscriptions"), ordering="subscriptions_number")
    def subscriptions_counted(self, backend: Backend) -> str:
        number: int = getattr(backend, "subscriptions_number", 0)
        url = changelist_url(self.admin_site, Subscription, backends=backend.pk)
        return link(url, number) if number and url else str(number)
