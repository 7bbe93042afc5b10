"""The admin of connected Telegram accounts. No token is shown: it is not stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from dsn_core.exceptions import ConfigurationError
from dsn_telegram import connecting
from dsn_telegram.models import ConnectionRequest
from dsn_telegram.options import NAME, accounts

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[ConnectionRequest]
    _ModelAdmin = admin.ModelAdmin[ConnectionRequest]
else:
    # Generic in the stubs only.
    _ModelForm = forms.ModelForm
    _ModelAdmin = admin.ModelAdmin


class ConnectionRequestForm(_ModelForm):
    """The user to make a link for. Asks the bot's name, so that what is wrong shows beside the field."""

    messenger = forms.ChoiceField(label=_("messenger"))

    class Meta:
        model = ConnectionRequest
        fields = ["user", "messenger"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = accounts() or [NAME]
        self.fields["messenger"].choices = [(name, name) for name in names]  # type: ignore[attr-defined]

    def clean_messenger(self) -> str:
        messenger: str = self.cleaned_data["messenger"]
        try:
            connecting.bot_name(messenger)
        except (connecting.BotUnreachable, ConfigurationError) as error:
            raise forms.ValidationError(str(error)) from None
        return messenger


@admin.register(ConnectionRequest)
class ConnectionRequestAdmin(_ModelAdmin):
    """Makes links for users, and shows which user connected which account."""

    form = ConnectionRequestForm
    list_display = ["user", "messenger", "account", "chat", "state_shown", "created_at"]
    list_filter = ["messenger", "created_at"]
    search_fields = ["account", "chat"]
    list_select_related = ["user"]
    # Not autocomplete_fields: the user model may have no admin of its own.
    raw_id_fields = ["user"]
    actions = ["confirm"]

    @admin.display(description=_("state"))
    def state_shown(self, row: ConnectionRequest) -> str:
        return row.state

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Rows tell what happened, and are not edited. (Confirming is an action of its own.)"""
        return obj is None and super().has_change_permission(request)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        shown = ["account", "chat", "created_at", "expires_at", "started_at", "confirmed_at"]
        return ["user", "messenger", *(shown if obj else [])]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Make the link. It is kept on the object for the one page that shows it."""
        from dsn_telegram.views import confirm_page

        link, row = connecting.make_link(obj.user, obj.messenger, confirm_page(request, obj.messenger))
        obj.pk, obj.link, obj.minutes_left_now = row.pk, link, row.minutes_left

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """The page with the link: never in a message or an address, which would keep the token.

        The admin's pages are cached nowhere.
        """
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Link to connect Telegram"),
            "for_user": obj.user,
            "link": obj.link,
            "minutes": obj.minutes_left_now,
        }
        return TemplateResponse(request, "admin/dsn_telegram/link.html", context)

    @admin.action(description=_("Confirm for the user: the account is theirs"), permissions=["change"])
    def confirm(self, request: HttpRequest, queryset: QuerySet[ConnectionRequest]) -> None:
        """For users who cannot confirm on the site; the operator answers for it."""
        done = sum(connecting.confirm(row.user, row.pk) is not None for row in queryset.select_related("user"))
        text = ngettext("%d account was connected.", "%d accounts were connected.", done) % done
        self.message_user(request, text, messages.SUCCESS if done else messages.WARNING)
