"""The URLs of the example: the cinema at the root, the pages of two plugins, and the admin."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.urls import include, path


def favicon(request: HttpRequest) -> HttpResponse:
    """Every browser asks for one; there is none."""
    return HttpResponse(status=204)


urlpatterns = [
    path("", include("cinema.urls")),
    path("favicon.ico", favicon),
    path("login/", LoginView.as_view(template_name="cinema/login.html"), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    # Users connect their account, and Telegram calls the webhook.
    path("telegram/", include("dsn_telegram.urls")),
    path("telegram/", include("dsn_telegram.webhook_urls")),
    # The SMS provider reports what became of messages.
    path("sms/", include("dsn_sms.urls")),
    path("admin/", admin.site.urls),
]
