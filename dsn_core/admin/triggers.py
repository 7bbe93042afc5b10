"""The admin of triggers."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from dsn_core.admin.base import SwitchableAdmin
from dsn_core.admin.choices import MODELS, VERBS
from dsn_core.admin.display import (
    MAX_LISTED,
    NOTHING,
    badge,
    bullets,
    change_link,
    changelist_url,
    excerpt,
    joined,
    link,
)
from dsn_core.admin.forms import TriggerForm
from dsn_core.conditions.wording import in_words
from dsn_core.models import Subscription, SubscriptionAddress, Trigger
from dsn_core.models.trigger_queryset import IDENTITY


@admin.register(Trigger)
class TriggerAdmin(SwitchableAdmin[Trigger]):
    form = TriggerForm
    # The annotation with a count loses the model's ordering.
    ordering = ["verb", "id"]
    list_display = ["verb_shown", "about", "enabled", "subscriptions_counted", "updated_at"]
    list_filter = ["enabled", "verb", "action_object_model"]
    search_fields = list(IDENTITY)
    readonly_fields = ["conditions_listed", "subscriptions_listed", "created_at", "updated_at"]
    fieldsets = [
        (None, {"fields": ["verb", "enabled"]}),
        (gettext_lazy("What it is about"), {"fields": ["action_object_model", "action_object_pk"]}),
        (gettext_lazy("Actor and target"), {"fields": ["actor_object_model", "actor_object_pk", "target"]}),
    ]
    deleted_with = [(Subscription, "trigger__in"), (SubscriptionAddress, "subscription__trigger__in")]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Trigger]:
        return super().get_queryset(request).annotate(subscriptions_number=Count("subscriptions"))

    def get_fieldsets(self, request: HttpRequest, obj: Trigger | None = None) -> Any:
        edits = obj is None or self.has_change_permission(request, obj)
        conditions = {"fields": ["conditions" if edits else "conditions_listed"]}
        fieldsets = [*super().get_fieldsets(request, obj), (_("Only if"), conditions)]
        if obj is None:
            return fieldsets
        about = {"fields": ["subscriptions_listed", "created_at", "updated_at"]}
        return [*fieldsets, (_("Subscriptions"), about)]

    @admin.display(description=gettext_lazy("verb"), ordering="verb")
    def verb_shown(self, trigger: Trigger) -> str:
        return VERBS.shown(trigger.verb)

    @admin.display(description=gettext_lazy("about"), ordering="action_object_model", empty_value=NOTHING)
    def about(self, trigger: Trigger) -> str:
        parts = []
        if trigger.action_object_model:
            parts.append(_reference(trigger.action_object_model, trigger.action_object_pk))
        if trigger.actor_object_model:
            actor = _reference(trigger.actor_object_model, trigger.actor_object_pk)
            parts.append(format_html(_("by {}"), actor))
        if trigger.target:
            parts.append(format_html(_("to {}"), trigger.target))
        if trigger.conditions:
            conditions = excerpt(", ".join(map(in_words, trigger.conditions)), 200)
            parts.append(format_html(_("if {}"), conditions))
        return joined(parts, " ")

    @admin.display(description=gettext_lazy("subscriptions"), ordering="subscriptions_number")
    def subscriptions_counted(self, trigger: Trigger) -> str:
        number: int = getattr(trigger, "subscriptions_number", 0)
        if number == 0:
            return badge(_("none"), "quiet")
        url = changelist_url(self.admin_site, Subscription, trigger=trigger.pk)
        return link(url, number) if url else str(number)

    @admin.display(description=gettext_lazy("conditions"))
    def conditions_listed(self, trigger: Trigger) -> str:
        return bullets(map(in_words, trigger.conditions)) if trigger.conditions else NOTHING

    @admin.display(description=gettext_lazy("subscriptions"))
    def subscriptions_listed(self, trigger: Trigger) -> SafeString:
        items: list[str] = []
        for subscription in trigger.subscriptions.all()[:MAX_LISTED]:
            name = change_link(self.admin_site, subscription, subscription.name or _("(without a name)"))
            items.append(name if subscription.enabled else format_html("{} {}", name, badge(_("off"), "quiet")))
        if (number := vars(trigger)["subscriptions_number"]) > MAX_LISTED:
            text = ngettext("all %d subscription", "all %d subscriptions", number) % number
            items.append(link(changelist_url(self.admin_site, Subscription, trigger=trigger.pk), text))
        if not items:
            items.append(_("None yet: no message is sent."))
        if self.admin_site.is_registered(Subscription):
            url = reverse(f"{self.admin_site.name}:{self.opts.app_label}_subscription_add")
            items.append(link(f"{url}?{urlencode({'trigger': trigger.pk})}", _("Add a subscription")))
        return bullets(items)


def _reference(label: str, key: str) -> str:
    name = MODELS.shown(label)
    return format_html("{} {}", name, key) if key else name
