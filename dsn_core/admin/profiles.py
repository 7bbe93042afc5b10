"""The admin of the built-in profiles with users' addresses."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.widgets import ForeignKeyRawIdWidget
from django.contrib.auth import get_user_model
from django.db.models import ForeignKey
from django.forms import ModelChoiceField
from django.http import HttpRequest
from django.utils.translation import gettext_lazy

from dsn_core import conf
from dsn_core.admin.base import ConfigurationAdmin
from dsn_core.admin.widgets import SearchSelect
from dsn_core.models import Profile


@admin.register(Profile)
class ProfileAdmin(ConfigurationAdmin[Profile]):
    fields = ["user", "telegram_chat_id", "phone"]
    list_display = ["user_shown", "telegram_chat_id", "phone"]
    list_display_links = ["user_shown"]
    list_select_related = ["user"]
    search_help_text = gettext_lazy("A user's name or e-mail address, a phone number, or a chat id.")

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Hide the list, which stays empty, in projects with their own profile model."""
        is_ours = conf.current().PROFILE_MODEL.lower() == self.opts.label_lower
        return is_ours and super().has_module_permission(request)

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        user: Any = get_user_model()
        names = {field.name for field in user._meta.concrete_fields}
        known = dict.fromkeys([user.USERNAME_FIELD, user.get_email_field_name()])
        return [*(f"user__{name}" for name in known if name in names), "phone", "telegram_chat_id"]

    def formfield_for_foreignkey(
        self, db_field: ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> ModelChoiceField[Any] | None:
        # Never a list of all users.
        kwargs["widget"] = (
            SearchSelect(db_field, self.admin_site)
            if self.can_search(request, "user")
            else ForeignKeyRawIdWidget(db_field.remote_field, self.admin_site)
        )
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    @admin.display(description=gettext_lazy("user"), ordering="user")
    def user_shown(self, profile: Profile) -> str:
        return str(profile.user)
