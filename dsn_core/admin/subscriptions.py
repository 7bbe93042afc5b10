"""The admin of subscriptions."""

from __future__ import annotations

import functools
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from dsn_core.admin.base import SwitchableAdmin
from dsn_core.admin.choices import RESOLVERS
from dsn_core.admin.display import NOTHING, badge, grouped, joined, link, reference_column
from dsn_core.admin.forms import AddressForm, AddressFormSet, SubscriptionForm
from dsn_core.admin.generic import TabularInline
from dsn_core.admin.members import KINDS, MAX_ADDRESSES, Addresses, Members, Users
from dsn_core.models import Subscription, SubscriptionAddress
from dsn_core.models.subscription import users_have_groups


class AddressInline(TabularInline[SubscriptionAddress, Subscription]):
    """The addresses of a subscription, with the permissions for the subscription."""

    model = SubscriptionAddress
    form = AddressForm
    # The stubs do not accept a formset with its own form.
    formset = AddressFormSet  # type: ignore[assignment]
    extra = 0
    max_num = MAX_ADDRESSES
    verbose_name = gettext_lazy("bare address")
    verbose_name_plural = gettext_lazy("bare addresses")

    # An inline's method takes the parent.
    def has_add_permission(  # type: ignore[override]
        self, request: HttpRequest, obj: Subscription | None
    ) -> bool:
        return self._may(request, "add" if obj is None else "change")

    def has_change_permission(self, request: HttpRequest, obj: Subscription | None = None) -> bool:
        return self._may(request, "change")

    has_delete_permission = has_change_permission

    def has_view_permission(self, request: HttpRequest, obj: Subscription | None = None) -> bool:
        return self._may(request, "view") or self._may(request, "change")

    def _may(self, request: HttpRequest, what: str) -> bool:
        user: Any = request.user
        return bool(user.has_perm(f"{self.opts.app_label}.{what}_subscription"))


@admin.register(Subscription)
class SubscriptionAdmin(SwitchableAdmin[Subscription]):
    form = SubscriptionForm
    inlines = [AddressInline]
    list_display = ["name_shown", "trigger_shown", "enabled", "backends_shown", "receivers_shown", "priority"]
    list_filter = ["enabled", "priority", "backends", "trigger__verb"]
    list_select_related = ["trigger"]
    search_fields = ["name", "trigger__verb", "trigger__action_object_model", "resolver", "argument"]
    filter_horizontal = ["backends", "groups"]
    searched = ["trigger", "users"]
    given_by_key = ["users"]
    readonly_fields = ["users_counted", "addresses_counted", "created_at", "updated_at"]
    deleted_with = [(SubscriptionAddress, "subscription__in")]

    trigger_shown = reference_column("trigger", gettext_lazy("trigger"), 120, ordering="trigger__verb")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Subscription]:
        through: Any = Subscription.users.through
        users = through._default_manager.filter(subscription=OuterRef("pk"))
        addresses = SubscriptionAddress.objects.filter(subscription=OuterRef("pk"))
        # Only whether there are any: counting a million is left to the subscription's page.
        rows = super().get_queryset(request).annotate(has_users=Exists(users), has_addresses=Exists(addresses))
        return rows.prefetch_related("backends", "groups")

    def get_urls(self) -> list[Any]:
        pages = [
            path(
                f"<path:object_id>/{kind.name}/",
                self.admin_site.admin_view(functools.partial(self._members_view, kind=kind)),
                name=f"dsn_core_subscription_{kind.name}",
            )
            for kind in KINDS
        ]
        return [*pages, *super().get_urls()]

    def _members_view(self, request: HttpRequest, object_id: str, *, kind: type[Members]) -> HttpResponse:
        subscription = self.get_object(request, unquote(object_id))
        may_change = self.has_change_permission(request, subscription)
        if not (may_change or self.has_view_permission(request, subscription)):
            raise PermissionDenied
        if subscription is None:
            raise Http404
        return kind(self, request, subscription).respond(may_change=may_change)

    def get_fieldsets(self, request: HttpRequest, obj: Subscription | None = None) -> Any:
        receivers = [] if _is_elsewhere(request, obj, Users) else ["users"]
        receivers += [] if obj is None else ["users_counted"]
        receivers += ["groups"] if users_have_groups() else []
        receivers += ["resolver", "argument"]
        receivers += [] if obj is None else ["addresses_counted"]
        fieldsets = [
            (None, {"fields": ["trigger", "name", "enabled"]}),
            (_("What and how"), {"fields": ["backends", "priority", "expires"]}),
            (_("Receivers"), {"fields": receivers}),
        ]
        return fieldsets if obj is None else [*fieldsets, (_("History"), {"fields": ["created_at", "updated_at"]})]

    def get_inlines(self, request: HttpRequest, obj: Subscription | None) -> Any:
        return [] if _is_elsewhere(request, obj, Addresses) else super().get_inlines(request, obj)

    def save_model(self, request: HttpRequest, obj: Subscription, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        for kind, posted in ((Users, "users"), (Addresses, "addresses-TOTAL_FORMS")):
            if change and posted in request.POST and _is_elsewhere(request, obj, kind):
                text = _("The %(kind)s were not changed: there are now too many for this page.")
                self.message_user(request, text % {"kind": kind.plural}, messages.WARNING)

    @admin.display(description=gettext_lazy("all users"))
    def users_counted(self, subscription: Subscription) -> str:
        return self._counted(subscription, Users)

    @admin.display(description=gettext_lazy("all bare addresses"))
    def addresses_counted(self, subscription: Subscription) -> str:
        return self._counted(subscription, Addresses)

    def _counted(self, subscription: Subscription, kind: type[Members]) -> str:
        """The number, and a link to the page of these receivers. A hidden mark says that they are only on that page."""
        number = grouped(getattr(subscription, kind.name).count())
        url = reverse(f"{self.admin_site.name}:dsn_core_subscription_{kind.name}", args=[subscription.pk])
        page = link(url, _("Search, add and remove on a separate page"))
        if not kind.are_many(subscription):
            return format_html("{} · {}", number, page)
        return format_html('{} · {}<input type="hidden" name="{}" value="1">', number, page, kind.mark)

    @admin.display(description=gettext_lazy("name"), ordering="name")
    def name_shown(self, subscription: Subscription) -> str:
        return subscription.name or _("(without a name)")

    @admin.display(description=gettext_lazy("backends"))
    def backends_shown(self, subscription: Subscription) -> str:
        return joined(subscription.backends.all()) or badge(_("none"), "warning")

    @admin.display(description=gettext_lazy("receivers"), empty_value=NOTHING)
    def receivers_shown(self, subscription: Subscription) -> str:
        parts: list[str] = []
        if getattr(subscription, "has_users", False):
            parts.append(_("users"))
        if groups := [str(group) for group in subscription.groups.all()]:
            parts.append(ngettext("group %s", "groups %s", len(groups)) % ", ".join(groups))
        if subscription.resolver:
            name = f"{subscription.resolver} {subscription.argument}".strip()
            parts.append(RESOLVERS.shown(subscription.resolver, name))
        if getattr(subscription, "has_addresses", False):
            parts.append(_("addresses"))
        return joined(parts) or badge(_("none"), "warning")


def _is_elsewhere(request: HttpRequest, subscription: Subscription | None, kind: type[Members]) -> bool:
    """Whether they are edited on their own page: there are many, or there were when the form was loaded."""
    return kind.mark in request.POST or kind.are_many(subscription)
