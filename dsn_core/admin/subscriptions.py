"""Subscriptions in the admin: whom."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.widgets import ManyToManyRawIdWidget
from django.db.models import Exists, ForeignKey, ManyToManyField, OuterRef, QuerySet
from django.forms import ModelChoiceField, ModelMultipleChoiceField
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from dsn_core.admin import choices
from dsn_core.admin.base import SwitchableAdmin
from dsn_core.admin.display import NOTHING, badge, installed_name, reference
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
    """The addresses are a part of the subscription: who may change it may change them."""

    model = SubscriptionAddress
    form = AddressForm
    # The stubs know no formset of a form of one's own.
    formset = AddressFormSet  # type: ignore[assignment]
    extra = 0
    max_num = MAX_ADDRESSES
    verbose_name = gettext_lazy("bare address")
    verbose_name_plural = gettext_lazy("bare addresses")

    # An inline's takes the parent.
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
        # Whether there are any: how many, of a million, is for the subscription's own page.
        rows = super().get_queryset(request).annotate(has_users=Exists(users), has_addresses=Exists(addresses))
        return rows.prefetch_related("backends", "groups")

    # The page

    def get_fieldsets(self, request: HttpRequest, obj: Subscription | None = None) -> Any:
        groups = ["groups"] if users_have_groups() else []
        receivers = ["users_counted" if has_many_users(obj) else "users", *groups, "resolver", "argument"]
        if has_many_addresses(obj):
            receivers.append("addresses_counted")
        fieldsets = [
            (None, {"fields": ["trigger", "name", "enabled"]}),
            (_("What and how"), {"fields": ["backends", "priority", "expires"]}),
            (_("Whom"), {"fields": receivers}),
        ]
        return fieldsets if obj is None else [*fieldsets, (_("History"), {"fields": ["created_at", "updated_at"]})]

    def get_inlines(self, request: HttpRequest, obj: Subscription | None) -> Any:
        return [] if has_many_addresses(obj) else super().get_inlines(request, obj)

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
            # Else keys, as a text: a list of all users would be as long as the users are many.
            kwargs["widget"] = (
                SearchSelectMultiple(db_field, self.admin_site)
                if self.can_search(request, "users")
                else ManyToManyRawIdWidget(db_field.remote_field, self.admin_site)
            )
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    @admin.display(description=gettext_lazy("users"))
    def users_counted(self, subscription: Subscription) -> str:
        through: Any = Subscription.users.through
        number: int = through._default_manager.filter(subscription=subscription).count()
        text = _("%d users: too many to edit here. Use a group, a resolver, or Trigger.subscribe() in code.")
        return text % number

    @admin.display(description=gettext_lazy("bare addresses"))
    def addresses_counted(self, subscription: Subscription) -> str:
        number = subscription.addresses.count()
        text = _("%d addresses: too many to edit here. Use a resolver, or Trigger.subscribe() in code.")
        return text % number

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
        return format_html_join(", ", "{}", ([part] for part in parts)) or badge(_("nobody"), "warning")
