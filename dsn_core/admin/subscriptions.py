"""The admin of subscriptions."""

from __future__ import annotations

import functools
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.admin.widgets import ManyToManyRawIdWidget
from django.db.models import Exists, ForeignKey, ManyToManyField, OuterRef, QuerySet
from django.forms import ModelChoiceField, ModelMultipleChoiceField
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.formats import number_format
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from dsn_core.admin import choices, member_pages, members
from dsn_core.admin.base import SwitchableAdmin
from dsn_core.admin.display import NOTHING, badge, installed_name, link, reference
from dsn_core.admin.forms import (
    MAX_ADDRESSES,
    AddressForm,
    AddressFormSet,
    SubscriptionForm,
    has_many_addresses,
    has_many_users,
)
from dsn_core.admin.generic import TabularInline
from dsn_core.admin.widgets import SearchSelect, SearchSelectMultiple
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

    def has_delete_permission(self, request: HttpRequest, obj: Subscription | None = None) -> bool:
        return self._may(request, "change")

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
    readonly_fields = ["users_counted", "addresses_counted", "created_at", "updated_at"]
    deleted_with = [(SubscriptionAddress, "subscription__in")]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Subscription]:
        through: Any = Subscription.users.through
        users = through._default_manager.filter(subscription=OuterRef("pk"))
        addresses = SubscriptionAddress.objects.filter(subscription=OuterRef("pk"))
        # Only whether there are any: counting a million is left to the subscription's page.
        rows = super().get_queryset(request).annotate(has_users=Exists(users), has_addresses=Exists(addresses))
        return rows.prefetch_related("backends", "groups")

    # The page

    def get_urls(self) -> list[Any]:
        pages = [
            path(
                f"<path:object_id>/{kind.name}/",
                self.admin_site.admin_view(functools.partial(self._members_view, kind=kind)),
                name=f"dsn_core_subscription_{kind.name}",
            )
            for kind in members.KINDS
        ]
        return [*pages, *super().get_urls()]

    def _members_view(self, request: HttpRequest, object_id: str, *, kind: type[members.Members]) -> HttpResponse:
        return member_pages.show(self, request, unquote(object_id), kind)

    def get_fieldsets(self, request: HttpRequest, obj: Subscription | None = None) -> Any:
        groups = ["groups"] if users_have_groups() else []
        counted = [] if obj is None else ["users_counted"]
        users = [] if _is_elsewhere(request, obj, members.Users) else ["users"]
        receivers = [*users, *counted, *groups, "resolver", "argument"]
        if obj is not None:
            receivers.append("addresses_counted")
        fieldsets = [
            (None, {"fields": ["trigger", "name", "enabled"]}),
            (_("What and how"), {"fields": ["backends", "priority", "expires"]}),
            (_("Receivers"), {"fields": receivers}),
        ]
        return fieldsets if obj is None else [*fieldsets, (_("History"), {"fields": ["created_at", "updated_at"]})]

    def get_inlines(self, request: HttpRequest, obj: Subscription | None) -> Any:
        return [] if _is_elsewhere(request, obj, members.Addresses) else super().get_inlines(request, obj)

    def save_model(self, request: HttpRequest, obj: Subscription, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        for kind, posted in ((members.Users, "users"), (members.Addresses, "addresses-TOTAL_FORMS")):
            if change and posted in request.POST and _is_elsewhere(request, obj, kind):
                text = _("The %(kind)s were not changed: there are now too many for this page.")
                self.message_user(request, text % {"kind": kind.plural}, messages.WARNING)

    def formfield_for_foreignkey(
        self, db_field: ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> ModelChoiceField[Any] | None:
        if db_field.name == "trigger" and self.can_search(request, "trigger"):
            kwargs["widget"] = SearchSelect(db_field, self.admin_site)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def formfield_for_manytomany(
        self, db_field: ManyToManyField[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> ModelMultipleChoiceField[Any] | None:
        if db_field.name == "users":
            # Without search, keys as text: a list of all users could be very long.
            kwargs["widget"] = (
                SearchSelectMultiple(db_field, self.admin_site)
                if self.can_search(request, "users")
                else ManyToManyRawIdWidget(db_field.remote_field, self.admin_site)
            )
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    @admin.display(description=gettext_lazy("all users"))
    def users_counted(self, subscription: Subscription) -> str:
        through: Any = Subscription.users.through
        number: int = through._default_manager.filter(subscription=subscription).count()
        return self._counted(subscription, members.Users, number, has_many_users(subscription))

    @admin.display(description=gettext_lazy("all bare addresses"))
    def addresses_counted(self, subscription: Subscription) -> str:
        number = subscription.addresses.count()
        return self._counted(subscription, members.Addresses, number, has_many_addresses(subscription))

    def _counted(self, subscription: Subscription, kind: type[members.Members], number: int, are_many: bool) -> str:
        """The number, and a link to the page of these receivers. A hidden mark says that they are only on that page."""
        url = member_pages.address(self, kind, subscription)
        mark = format_html('<input type="hidden" name="{}" value="1">', _mark(kind)) if are_many else ""
        shown = number_format(number, force_grouping=True)
        return format_html("{} · {}{}", shown, link(url, _("Search, add and remove on a separate page")), mark)

    # The list

    @admin.display(description=gettext_lazy("name"), ordering="name")
    def name_shown(self, subscription: Subscription) -> str:
        return subscription.name or _("(without a name)")

    @admin.display(description=gettext_lazy("trigger"), ordering="trigger__verb")
    def trigger_shown(self, subscription: Subscription) -> str:
        return reference(self.admin_site, subscription, "trigger", 120)

    @admin.display(description=gettext_lazy("backends"))
    def backends_shown(self, subscription: Subscription) -> str:
        names = [str(backend) for backend in subscription.backends.all()]
        return format_html_join(", ", "{}", ([name] for name in names)) or badge(_("none"), "warning")

    @admin.display(description=gettext_lazy("receivers"), empty_value=NOTHING)
    def receivers_shown(self, subscription: Subscription) -> str:
        parts: list[str] = []
        if getattr(subscription, "has_users", False):
            parts.append(_("users"))
        if groups := [str(group) for group in subscription.groups.all()]:
            parts.append(ngettext("group %s", "groups %s", len(groups)) % ", ".join(groups))
        if subscription.resolver:
            name = f"{subscription.resolver} {subscription.argument}".strip()
            parts.append(installed_name(name, installed=choices.is_receiver_resolver(subscription.resolver)))
        if getattr(subscription, "has_addresses", False):
            parts.append(_("addresses"))
        return format_html_join(", ", "{}", ([part] for part in parts)) or badge(_("none"), "warning")


def _mark(kind: type[members.Members]) -> str:
    return f"{kind.name}_elsewhere"


def _is_elsewhere(request: HttpRequest, subscription: Subscription | None, kind: type[members.Members]) -> bool:
    """Whether they are edited on their own page: there are many, or there were when the form was loaded."""
    if _mark(kind) in request.POST:
        return True
    return has_many_users(subscription) if kind is members.Users else has_many_addresses(subscription)
