"""Users' addresses in the admin: a list of all, and an inline for the page of a user."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Model
from django.http import HttpRequest
from django.utils.translation import gettext_lazy

from dsn_core.admin.base import ConfigurationAdmin
from dsn_core.admin.choices import ALIASES_WITH_ADDRESSES
from dsn_core.admin.forms import ConfigurationForm
from dsn_core.admin.generic import TabularInline
from dsn_core.models import Address


class UserAddressForm(ConfigurationForm[Address]):
    names = {"messenger": ALIASES_WITH_ADDRESSES}
    goes_with = {"messenger": ("user",)}

    class Meta:
        model = Address
        fields = ["user", "messenger", "address"]

    def save(self, commit: bool = True) -> Address:
        if "address" in self.changed_data:
            # The new one was not verified.
            self.instance.verified_at = None
        return super().save(commit)


class UserAddressInline(TabularInline[Address, Model]):
    """For the ``inlines`` of a project's own admin of users: where a user is reached."""

    model = Address
    form = UserAddressForm
    fields = ["messenger", "address", "verified_at"]
    readonly_fields = ["verified_at"]
    extra = 0
    verbose_name = gettext_lazy("address")
    verbose_name_plural = gettext_lazy("addresses")

    class Media:
        css = {"all": ["dsn_core/admin.css"]}


@admin.register(Address)
class AddressAdmin(ConfigurationAdmin[Address]):
    form = UserAddressForm
    fields = ["user", "messenger", "address", "verified_at"]
    list_display = ["user_shown", "messenger", "address", "verified_at"]
    list_display_links = ["user_shown"]
    list_select_related = ["user"]
    list_filter = [("verified_at", admin.EmptyFieldListFilter)]
    search_help_text = gettext_lazy("A user's name or e-mail address, or a part of an address.")
    show_full_result_count = False
    searched = ["user"]
    given_by_key = ["user"]

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Not when all addresses are stored elsewhere: the list would stay empty."""
        return bool(ALIASES_WITH_ADDRESSES.choices()) and super().has_module_permission(request)

    def get_readonly_fields(self, request: HttpRequest, obj: Address | None = None) -> list[str]:
        # Another user or messenger is another row.
        return ["verified_at"] if obj is None else ["user", "messenger", "verified_at"]

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        user: Any = get_user_model()
        names = {field.name for field in user._meta.concrete_fields}
        known = dict.fromkeys([user.USERNAME_FIELD, user.get_email_field_name()])
        return [*(f"user__{name}" for name in known if name in names), "address"]

    @admin.display(description=gettext_lazy("user"), ordering="user")
    def user_shown(self, row: Address) -> str:
        return str(row.user)
