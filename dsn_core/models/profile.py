"""The built-in profile: where addresses live in projects that have no profile of their own."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


class Profile(models.Model):
    """A user's addresses beside the e-mail. ``DSN["PROFILE_MODEL"]`` names a project's own instead."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="dsn_profile", verbose_name=_("user")
    )
    telegram_chat_id = models.CharField(_("Telegram chat id"), max_length=32, blank=True, db_index=True)
    phone = models.CharField(
        _("phone"), max_length=32, blank=True, db_index=True, help_text=_("With the country's code: +49 30 901820.")
    )

    class Meta:
        verbose_name = _("profile")
        verbose_name_plural = _("profiles")
        ordering = ["user"]

    def __str__(self) -> str:
        return str(self.user)
