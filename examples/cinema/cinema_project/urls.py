"""The URLs of the example: the cinema at the root, and the admin."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import include, path


def favicon(request: HttpRequest) -> HttpResponse:
    """Every browser asks for one; there is none."""
    return HttpResponse(status=204)


urlpatterns = [
    path("", include("cinema.urls")),
    path("favicon.ico", favicon),
    path("admin/", admin.site.urls),
]
