"""The app: the plugin's tables, pages, commands and template tag."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DsnTelegramConfig(AppConfig):
    name = "dsn_telegram"
    label = "dsn_telegram"
    verbose_name = _("Telegram")
    default_auto_field = "django.db.models.BigAutoField"
