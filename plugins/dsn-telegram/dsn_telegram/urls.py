"""The pages for users: ``path("telegram/", include("dsn_telegram.urls"))``."""

from __future__ import annotations

from django.urls import path

from dsn_telegram import views

app_name = "dsn_telegram"

urlpatterns = [
    path("<str:messenger>/connect/", views.connect, name="connect"),
    path("<str:messenger>/confirm/", views.confirm, name="confirm"),
    path("<str:messenger>/disconnect/", views.disconnect, name="disconnect"),
]
