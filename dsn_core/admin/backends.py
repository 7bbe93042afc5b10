"""The admin of backends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import Count, Exists, OuterRef, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from dsn_core.admin.base import ConfigurationAdmin
from dsn_core.admin.choices import ALIASES, TEMPLATES
from dsn_core.admin.display import MAX_LISTED, badge, bounded, bullets, change_link, changelist_url, excerpt, link
from dsn_core.admin.forms import BackendForm
from dsn_core.models import Backend, Subscription
from dsn_core.plugins.registry import registry


def readiness(alias: str) -> str:
    """A badge that says whether the messenger is ready, and why not; without secrets."""
    if not ALIASES.is_installed(alias):
        return badge(_("not installed"), "bad")
    findings = registry.messenger_findings(alias)
    if not findings:
        return badge(_("ready"), "good")
    reasons = bullets(finding if isinstance(finding, str) else finding.msg for finding in findings)
    return format_html("{}{}", badge(_("not ready"), "warning"), reasons)


@admin.register(Backend)
class BackendAdmin(ConfigurationAdmin[Backend]):
    form = BackendForm
    list_display = ["message_template_shown", "messenger", "readiness_shown", "subscriptions_counted"]
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
        without_another = using.filter(~Exists(left.filter(subscription=OuterRef("pk")))).count()
        text = ngettext(
            "%d subscription uses it, and will no longer send with it:",
            "%d subscriptions use it, and will no longer send with it:",
            number,
        )
        names: list[str] = []
        other = self.admin_of(Subscription)
        if other is not None and other.has_view_permission(request):
            shown = using.select_related("trigger").order_by("pk")[:MAX_LISTED]
            names = bounded([change_link(self.admin_site, row, excerpt(str(row), 120)) for row in shown], number)
        note = format_html("{}{}", text % number, bullets(names, "dsn-uses"))
        if not without_another:
            return [note]
        warning = ngettext(
            "%d of them has no other backend, and will send nothing.",
            "%d of them have no other backend, and will send nothing.",
            without_another,
        )
        return [note, warning % without_another]

    @admin.display(description=gettext_lazy("message template"), ordering="message_template")
    def message_template_shown(self, backend: Backend) -> str:
        return TEMPLATES.shown(backend.message_template)

    @admin.display(description=gettext_lazy("messenger's state"))
    def readiness_shown(self, backend: Backend) -> str:
        return readiness(backend.messenger)

    @admin.display(description=gettext_lazy("subscriptions"), ordering="subscriptions_number")
    def subscriptions_counted(self, backend: Backend) -> str:
        number: int = getattr(backend, "subscriptions_number", 0)
        url = changelist_url(self.admin_site, Subscription, backends=backend.pk)
        return link(url, number) if number and url else str(number)
