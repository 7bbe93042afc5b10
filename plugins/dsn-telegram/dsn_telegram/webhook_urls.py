"""The webhook, for projects that do not poll: ``path("telegram/", include("dsn_telegram.webhook_urls"))``."""

from __future__ import annotations

from django.urls import path

from dsn_telegram import views

app_name = "dsn_telegram_webhook"

urlpatterns = [path("<str:messenger>/webhook/", views.webhook, name="webhook")]
